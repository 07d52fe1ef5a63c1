"""Corrupt reports of benchmarks."""

import json
from pathlib import Path

from fuzzing import corrupt_data, corrupt_text, fuzz_settings, refusal
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.benchmark import (
    compare_reports,
    format_report,
    Host,
    Percentiles,
    plot_report,
    read_report,
    Report,
    Run,
    WarmUp,
)
from mnssd_perception.serialization import to_plain

TOTAL = (9.0, 10.0, 11.0, 12.0)
STAGES = {name: Percentiles.of(TOTAL) for name in ('resize', 'infer', 'postprocess', 'total')}
RUN = Run(
    'onnxruntime', 'fp32', 'onnxruntime 1.31', 2, 1, 'network.onnx', WarmUp(0.1, 20.0, 11.0),
    STAGES, 95.0, 1.0, 1.9, 99.0, 0.0, {'VDD_IN': 5.0}, {'cpu': 50.0}, TOTAL,
)  # fmt: skip
HOST = Host('', 'a CPU', 'x86_64', 2, ('performance',), 4096, 'Linux', {'numpy': '2.0'}, 0.1)
VALID = to_plain(Report(1, 'hit_uav 1.0', 'sha256:00', 'images', HOST, (RUN,), ('x: y',), None))


def read(path: Path) -> None:
    """Read a report, and do everything with it that the commands do."""
    report = read_report(path)
    assert compare_reports(report, report)
    assert format_report(report)
    assert plot_report(report)


def test_valid_report_is_accepted(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(VALID))
    assert not refusal(read, tmp_path / 'a.json')


@fuzz_settings()
@given(data=st.data())
def test_corrupt_report_is_refused_or_shown(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / 'a.json'
    if data.draw(st.booleans()):
        path.write_text(json.dumps(data.draw(corrupt_data(VALID))))
    else:
        path.write_bytes(data.draw(corrupt_text(json.dumps(VALID, indent=1).encode())))
    refusal(read, path, names=[str(path)])
