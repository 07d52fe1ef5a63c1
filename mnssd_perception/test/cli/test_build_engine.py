"""``mnssd build-engine``, with a fake GPU and a fake TensorRT."""

from collections.abc import Callable
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

from fake_cuda import FakeCudart
from fake_tensorrt import make_tensorrt
from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    Manifest,
    open_bundle,
    write_bundle,
)
from mnssd_perception.cli.build_engine import main
from mnssd_perception.engines import cuda, EngineOptions
from mnssd_perception.engines.tensorrt_engine import TensorRtEngine
from mnssd_perception.files import cache_folder
from mnssd_perception.ssd import FeatureMap, ModelSpec, prior_digest
import pytest

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCudart:
    """Offer a GPU, and an empty cache."""
    made = FakeCudart()
    monkeypatch.setattr(cuda, 'load_libraries', lambda: iter([made]))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return made


@pytest.fixture
def tensorrt(cudart: FakeCudart, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Install TensorRT."""
    pytest.importorskip('onnxruntime')
    made = make_tensorrt('10.3.0', cudart)
    monkeypatch.setitem(sys.modules, 'tensorrt', made)
    return made


SPEC = ModelSpec((4, 8), ('a', 'b', 'c'), (FeatureMap((4, 6), (1.0, 1.5), ((2.0, 2.0),)),))


def make_network() -> bytes:
    """Make a network whose heads are the pixels."""
    onnx = pytest.importorskip('onnx')
    helper, types = onnx.helper, onnx.TensorProto

    def value(name: str, kind: int, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node('Cast', ['image'], ['numbers'], to=types.FLOAT),
        helper.make_node('Reshape', ['numbers', 'shape'], ['logits']),
        helper.make_node('Relu', ['logits'], ['offsets']),
    ]
    graph = helper.make_graph(
        nodes, 'tiny', [value('image', types.UINT8, 4, 8, 3)],
        [value('logits', types.FLOAT, 24, 4), value('offsets', types.FLOAT, 24, 4)],
        [helper.make_tensor('shape', types.INT64, [2], [24, 4])],
        value_info=[value('numbers', types.FLOAT, 4, 8, 3)],
    )  # fmt: skip
    opset = [helper.make_opsetid('', 17)]
    network: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=8
    ).SerializeToString()
    return network


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle with a tiny network for TensorRT in some precisions."""

    def make(*precisions: str) -> Path:
        gate = GateVerdict(True, (), 'a test', 1, f'sha256:{"0" * 64}', 0.5, 0.5, 1, 0)
        files = {'network.onnx': make_network()}
        manifest = Manifest(
            schema=2,
            name='tiny',
            version='1',
            spec=SPEC,
            num_priors=SPEC.num_priors,
            prior_digest=prior_digest(SPEC),
            files=file_entries(files),
            artefacts=tuple(
                Artefact('network.onnx', 'tensorrt', precision, gate=gate)
                for precision in precisions
            ),
        )
        path = tmp_path / 'made.mnssd'
        write_bundle(path, manifest, files)
        return path

    return make


def test_builds_what_the_detector_takes_from_the_cache(
    tensorrt: ModuleType, make: Callable[..., Path], capsys: Capture
) -> None:
    path = make('fp16')
    assert main([str(path)]) == 0
    captured = capsys.readouterr()
    assert 'tensorrt: builds an engine for Fake Orin' in captured.err
    (plan,) = [
        line.partition('plan: ')[2] for line in captured.out.splitlines() if 'plan:' in line
    ]
    assert Path(plan).is_file()
    assert 'network.onnx, no golden frames to test it with' in captured.out
    assert 'CUDA graph: yes' in captured.out
    bundle = open_bundle(path)
    network = bundle.read(bundle.manifest.artefacts[0].path)
    TensorRtEngine(bundle.manifest.spec, network, EngineOptions(cache=cache_folder())).close()
    assert len(tensorrt.world.builds) == 1


def test_force_builds_again_and_profile_lists_layers(
    tensorrt: ModuleType, make: Callable[..., Path], capsys: Capture
) -> None:
    path = make('fp16')
    for _ in range(2):
        assert main([str(path), '--force', '--profile']) == 0
    assert len(tensorrt.world.builds) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-3:]] == [
        ['0.7500', '75.0', 'head'], ['0.2500', '25.0', 'stem'], ['1.0000', '100.0', 'all'],
    ]  # fmt: skip


def test_a_precision_that_fails_does_not_stop_the_others(
    tensorrt: ModuleType, make: Callable[..., Path], capsys: Capture
) -> None:
    assert main([str(make('int8', 'fp16'))]) == 1
    captured = capsys.readouterr()
    assert 'error: tensorrt (int8): tensorrt: expected an int8 network' in captured.err
    assert 'tensorrt 10.3.0, fp16, Fake Orin' in captured.out


def test_settings_reach_the_build(tensorrt: ModuleType, make: Callable[..., Path]) -> None:
    tensorrt.world.num_dla_cores = 1
    assert main([str(make('fp16')), '--dla-core', '0', '--workspace-mib', '64']) == 0
    (settings,) = tensorrt.world.builds
    assert (settings['dla_core'], settings['workspace']) == (0, 64 << 20)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--precision', 'int8'], "has no network for engine 'tensorrt' in int8"),
        (['--dla-core', '99'], 'dla_core: expected -1 to 15, got 99'),
        (['--workspace-mib', '1'], 'workspace_mib: expected 16 to'),
    ],
)
def test_wrong_arguments_are_errors(
    tensorrt: ModuleType, make: Callable[..., Path], capsys: Capture,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    assert main([str(make('fp16')), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert tensorrt.world.builds == []


def test_a_machine_without_a_gpu_says_so(cudart: FakeCudart, capsys: Capture) -> None:
    cudart.num_devices = 0
    assert main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: engine 'tensorrt' cannot be used here: the NVIDIA GPU cannot")
