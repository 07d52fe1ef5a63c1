"""Check, measure and draw datasets, and fit prior sizes to them."""

from mnssd_training.inspection.check import check, CheckResult
from mnssd_training.inspection.report import check_json, check_text

__all__ = ['check', 'check_json', 'check_text', 'CheckResult']
