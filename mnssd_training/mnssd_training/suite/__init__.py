"""Suites: several trainings side by side, and a table that compares them."""

from mnssd_training.suite.plan import (
    load_suite,
    plan_runs,
    Recipe,
    shipped_suites,
    Suite,
    SuiteRun,
)
from mnssd_training.suite.report import Report, report_suite, report_text, report_to_json
from mnssd_training.suite.runner import run_suite

__all__ = [
    'load_suite',
    'plan_runs',
    'Recipe',
    'Report',
    'report_suite',
    'report_text',
    'report_to_json',
    'run_suite',
    'shipped_suites',
    'Suite',
    'SuiteRun',
]
