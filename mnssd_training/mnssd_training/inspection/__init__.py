"""Datasets under the magnifying glass: faults, figures, contact sheets and prior sizes."""

from mnssd_training.inspection.check import check, Checked
from mnssd_training.inspection.findings import Finding, KINDS
from mnssd_training.inspection.report import check_json, check_text
from mnssd_training.inspection.scan import Format, guess_format, splits_of

__all__ = [
    'check',
    'check_json',
    'check_text',
    'Checked',
    'Finding',
    'Format',
    'guess_format',
    'KINDS',
    'splits_of',
]
