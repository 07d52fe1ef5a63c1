"""Check, measure and draw datasets, and fit prior sizes to them."""

from mnssd_training.inspection.check import check, check_json, check_text, CheckResult

__all__ = ['check', 'check_json', 'check_text', 'CheckResult']
