"""Charts, drawings, tables and self-contained HTML pages, as all reports use them."""

from mnssd_training.reporting import drawing, page, plots, tables

__all__ = ['drawing', 'page', 'plots', 'tables']
