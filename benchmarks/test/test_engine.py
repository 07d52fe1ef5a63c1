"""Networks of the bundle and of others, in turns."""

from pathlib import Path

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
import numpy as np
import onnxruntime
import pytest

from benchmarks import engine, ssdlite_onnx
from benchmarks.__main__ import main

pytest.importorskip('openvino', reason='needs OpenVINO')
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope='module')
def network() -> bytes:
    bundle = open_bundle(shipped_bundle_path())
    return bundle.read('network.onnx')


def test_every_network_gets_a_row_with_its_ratio(
    network: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(engine, 'export_ssdlite', lambda num_classes, has_nms: network)
    (tmp_path / 'other.onnx').write_bytes(network)
    arguments = ['--rounds', '1', '--threads', '1', '--onnx', f'other={tmp_path / "other.onnx"}']
    assert main(['engine', *arguments]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if '(' in line and 'rounds' not in line]
    names = {' '.join(row[:-3]) for row in rows}
    assert {'mnssd onnxruntime fp32', 'other onnxruntime fp32', 'other openvino fp32'} <= names
    assert 'torchvision ssdlite320, with NMS onnxruntime fp32' in names
    auto = out.partition('auto is ')[2].partition(';')[0]
    assert [row[-1] for row in rows if ' '.join(row[:-3]) == f'mnssd {auto}'] == ['1.00']


@pytest.mark.parametrize('text', ['', 'x', '=x', 'x=', 'x=/nowhere.onnx'])
def test_a_file_that_does_not_exist_is_refused(text: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(['engine', '--onnx', text])
    assert 'expected NAME=FILE with a file that exists' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ('has_nms', 'shapes'),
    [(False, {'logits': (1, 3234, 21), 'offsets': (1, 3234, 4)}), (True, {'boxes': (0, 4)})],
)
def test_ssdlite_is_exported(has_nms: bool, shapes: dict[str, tuple[int, ...]]) -> None:
    exported = ssdlite_onnx.export_ssdlite(21, has_nms=has_nms)
    session = onnxruntime.InferenceSession(exported, providers=['CPUExecutionProvider'])
    (image,) = session.get_inputs()
    pixels = np.full(image.shape, 0.5, np.float32)
    outputs = session.run(list(shapes), {image.name: pixels})
    assert {name: output.shape for name, output in zip(shapes, outputs)} == shapes
