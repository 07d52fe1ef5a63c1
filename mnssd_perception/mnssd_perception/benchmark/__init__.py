"""Measure how fast the networks of a bundle run on this machine."""

from mnssd_perception.benchmark.compare import compare_reports
from mnssd_perception.benchmark.host import describe_host, Host
from mnssd_perception.benchmark.measure import (
    BenchmarkOptions,
    find_candidates,
    open_subjects,
    run_benchmark,
)
from mnssd_perception.benchmark.plot import plot_report
from mnssd_perception.benchmark.report import (
    format_report,
    Percentiles,
    read_report,
    Report,
    Run,
    WarmUp,
    write_report,
)

__all__ = [
    'BenchmarkOptions',
    'compare_reports',
    'describe_host',
    'find_candidates',
    'format_report',
    'Host',
    'open_subjects',
    'Percentiles',
    'plot_report',
    'read_report',
    'Report',
    'Run',
    'run_benchmark',
    'WarmUp',
    'write_report',
]
