"""A report with two runs."""

from mnssd_perception.benchmark import Host, Percentiles, Report, Run, WarmUp
import pytest

HOST = Host('', 'a CPU', 'x86_64', 2, (), 4096, 'Linux', {'numpy': '2.0'}, 0.0)


def make_run(engine: str = 'onnxruntime', precision: str = 'fp32', factor: float = 1.0) -> Run:
    total = [factor * value for value in (10.0, 11.0, 12.0, 13.0)]
    stages = {
        'resize': Percentiles.of([0.5] * 4),
        'infer': Percentiles.of([value - 1 for value in total]),
        'postprocess': Percentiles.of([0.5] * 4),
        'total': Percentiles.of(total),
    }
    return Run(
        engine, precision, f'{engine} 1.0, {precision}, a CPU', 2, 1, 'network.onnx',
        WarmUp(0.5, 30.0, 12.0), stages, 80.0, 1.01, 1.9, 100.0, None, {}, {'cpu': 50.0},
        tuple(total),
    )  # fmt: skip


@pytest.fixture
def report() -> Report:
    runs = (make_run(), make_run('openvino', 'int8', 0.5))
    return Report(1, 'hit_uav 1.0', 'sha256:00', '3 images', HOST, runs, ('x: no x',), 300.0)
