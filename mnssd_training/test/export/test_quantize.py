"""The two INT8 files of a small, real network: properties that engines depend on."""

from collections import Counter
from collections.abc import Callable, Collection
import logging
import os
import subprocess
import sys
from typing import Any

from mnssd_perception.bundle import GateVerdict, open_bundle, shipped_bundle_path
from mnssd_perception.engines import open_onnx
from mnssd_perception.engines.onnx_check import check_onnx
from mnssd_perception.ssd import ModelSpec, Thresholds
from mnssd_training.config import GateConfig
from mnssd_training.data import Sample
from mnssd_training.errors import ExportError
from mnssd_training.export import read_spec
from mnssd_training.export.calibration import load_calibration_images
from mnssd_training.export.gate import check_artefact, choose_limits, make_reference
from mnssd_training.export.quantize import (
    quantize_for_cpu,
    quantize_for_tensorrt,
    quantize_until_accepted,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
from numpy.typing import NDArray
import onnx
from onnx import numpy_helper, TensorProto
import pytest

Images = list[NDArray[np.uint8]]
QUANTIZERS = {'cpu': quantize_for_cpu, 'tensorrt': quantize_for_tensorrt}


@pytest.fixture(params=QUANTIZERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Graph:
    """A graph with its tensors by name."""

    def __init__(self, content: bytes) -> None:
        self.proto = onnx.load_from_string(content)
        self.nodes = self.proto.graph.node
        self.weights = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.graph.initializer
        }
        self.producers = {output: node for node in self.nodes for output in node.output}

    def count(self) -> Counter[str]:
        return Counter(node.op_type for node in self.nodes)

    def of_type(self, *types: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type in types]

    def is_dequantized(self, tensor: str) -> bool:
        return tensor in self.producers and self.producers[tensor].op_type == 'DequantizeLinear'


# --- what both have in common ----------------------------------------------------------------


def test_a_quantised_network_keeps_the_contract(
    name: str, files: dict[str, bytes], exported: bytes, spec: ModelSpec
) -> None:
    original, quantized = Graph(exported).proto, Graph(files[name]).proto
    onnx.checker.check_model(quantized, full_check=True)
    for field in ('input', 'output'):
        assert list(getattr(quantized.graph, field)) == list(getattr(original.graph, field))
    assert list(quantized.metadata_props) == list(original.metadata_props)
    assert list(quantized.opset_import) == list(original.opset_import)
    assert quantized.ir_version == 8
    assert {node.domain for node in quantized.graph.node} == {''}
    assert not any(node.doc_string or node.metadata_props for node in quantized.graph.node)
    node_names = [node.name for node in quantized.graph.node]
    assert all(node_names)
    assert len(set(node_names)) == len(node_names)
    assert read_spec(name, files[name]) == spec  # type: ignore[arg-type]  # for messages only


def test_the_drone_opens_it_and_finds_the_same(
    name: str, files: dict[str, bytes], exported: bytes, spec: ModelSpec, images: Images
) -> None:
    check_onnx(files[name])  # shapes of all tensors are declared
    reference, quantized = open_onnx(spec, exported), open_onnx(spec, files[name])
    for image in images:
        expected, heads = reference.infer(image), quantized.infer(image)
        for head in ('logits', 'offsets'):
            before, after = getattr(expected, head), getattr(heads, head)
            noise = np.linalg.norm(after - before) / np.linalg.norm(before - before.mean())
            assert 0 < noise < 0.3, (head, noise)


def test_all_convolutions_are_quantised_with_weights_per_channel(
    name: str, files: dict[str, bytes], exported: bytes
) -> None:
    graph, original = Graph(files[name]), Graph(exported)
    convolutions = graph.of_type('Conv')
    before = {node.name: node for node in original.of_type('Conv')}
    assert len(convolutions) == len(before) > 50
    for node in convolutions:
        assert all(graph.is_dequantized(tensor) for tensor in node.input[:2]), node.name
        weights = original.weights[before[node.name].input[1]]
        dequantize = graph.producers[node.input[1]]
        scales, zero_points = (graph.weights[key] for key in dequantize.input[1:])
        assert scales.shape == zero_points.shape == weights.shape[:1]
        assert zero_points.dtype == np.int8
        assert not zero_points.any()
        assert [item.i for item in dequantize.attribute if item.name == 'axis'] == [0]
        shaped = scales.reshape(-1, 1, 1, 1)
        assert np.abs(weights / shaped).max() <= 127.5
        if dequantize.input[0] in graph.weights:
            quantized = graph.weights[dequantize.input[0]]
            assert quantized.dtype == np.int8
            assert np.abs(quantized * shaped - weights).max() <= 0.51 * scales.max()


def test_equal_arguments_give_equal_bytes(
    name: str, files: dict[str, bytes], exported: bytes, images: Images
) -> None:
    assert QUANTIZERS[name](exported, images) == files[name]


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_order_of_sets(
    name: str, files: dict[str, bytes], exported: bytes, images: Images, tmp_path: Any
) -> None:
    """ONNX Runtime passes sets of names around, and hashes of strings differ by process."""
    (tmp_path / 'network.onnx').write_bytes(exported)
    np.save(tmp_path / 'images.npy', np.stack(images))
    script = f"""
import sys, numpy as np
from pathlib import Path
from mnssd_training.export.quantize import quantize_for_{name}
folder = Path(sys.argv[1])
content = quantize_for_{name}(
    (folder / 'network.onnx').read_bytes(), list(np.load(folder / 'images.npy'))
)
(folder / 'quantized.onnx').write_bytes(content)
"""
    for seed in ('1', '2'):
        subprocess.run(
            [sys.executable, '-c', script, str(tmp_path)],
            env={**os.environ, 'PYTHONHASHSEED': seed},
            check=True,
        )
        assert (tmp_path / 'quantized.onnx').read_bytes() == files[name]


def test_it_leaves_no_files_and_no_warnings(
    name: str,
    exported: bytes,
    images: Images,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        QUANTIZERS[name](exported, images[:1])
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []


# --- the file for CPUs -----------------------------------------------------------------------


def test_cpu_activations_are_unsigned_and_absorb_relu6(files: dict[str, bytes]) -> None:
    graph = Graph(files['cpu'])
    assert 'Clip' not in graph.count()
    types = {graph.weights[node.input[2]].dtype for node in graph.of_type('QuantizeLinear')}
    assert types == {np.dtype(np.uint8)}
    for node in graph.of_type('Conv'):
        bias = graph.producers[node.input[2]]
        assert graph.weights[bias.input[0]].dtype == np.int32


def test_cpu_weights_are_stored_as_int8(files: dict[str, bytes], exported: bytes) -> None:
    graph = Graph(files['cpu'])
    for node in graph.of_type('Conv'):
        assert graph.weights[graph.producers[node.input[1]].input[0]].dtype == np.int8
    assert len(files['cpu']) < 0.4 * len(exported)


def test_reduced_range_uses_seven_bits_of_the_weights(exported: bytes, images: Images) -> None:
    graph = Graph(quantize_for_cpu(exported, images[:1], reduce_range=True))
    largest = [
        np.abs(array.astype(int)).max()
        for key, array in graph.weights.items()
        if key.endswith('.weight_quantized')
    ]
    assert max(largest) <= 64


def test_weights_may_share_one_scale(exported: bytes, images: Images) -> None:
    graph = Graph(quantize_for_cpu(exported, images[:1], per_channel=False))
    scales = [array for key, array in graph.weights.items() if key.endswith('.weight_scale')]
    assert {scale.size for scale in scales} == {1}


def test_percentiles_choose_other_ranges(
    files: dict[str, bytes], exported: bytes, images: Images
) -> None:
    other = quantize_for_cpu(exported, images, method='Percentile')
    assert Graph(other).count() == Graph(files['cpu']).count()
    assert other != files['cpu']


# --- the file for TensorRT -------------------------------------------------------------------


def test_tensorrt_ranges_are_symmetric_and_signed(files: dict[str, bytes]) -> None:
    """TensorRT refuses other zero points, and uint8 activations."""
    graph = Graph(files['tensorrt'])
    nodes = graph.of_type('QuantizeLinear', 'DequantizeLinear')
    assert len(nodes) > 200
    for node in nodes:
        zero_point = graph.weights[node.input[2]]
        assert zero_point.dtype == np.int8, node.name
        assert not zero_point.any(), node.name
        assert (graph.weights[node.input[1]] > 0).all(), node.name
        if node.input[0] not in graph.weights and graph.producers.get(node.input[0]):
            is_weight = graph.producers[node.input[0]].input[0] in graph.weights
            assert is_weight or graph.weights[node.input[1]].size == 1, node.name


def test_tensorrt_weights_are_quantised_by_a_node(
    files: dict[str, bytes], exported: bytes
) -> None:
    """TensorRT 8 reads no int8 weights."""
    graph, original = Graph(files['tensorrt']), Graph(exported)
    for node in graph.of_type('Conv'):
        quantize = graph.producers[graph.producers[node.input[1]].input[0]]
        assert quantize.op_type == 'QuantizeLinear'
        np.testing.assert_array_equal(
            graph.weights[quantize.input[0]], original.weights[quantize.input[0]]
        )
        assert [item.i for item in quantize.attribute if item.name == 'axis'] == [0]


def test_tensorrt_biases_stay_float(files: dict[str, bytes], exported: bytes) -> None:
    graph, original = Graph(files['tensorrt']), Graph(exported)
    for node in graph.of_type('Conv'):
        bias = graph.weights[node.input[2]]
        assert bias.dtype == np.float32
        np.testing.assert_array_equal(bias, original.weights[node.input[2]])
    assert TensorProto.INT32 not in {item.data_type for item in graph.proto.graph.initializer}


def test_only_convolutions_and_sums_are_quantised_for_tensorrt(
    files: dict[str, bytes], exported: bytes
) -> None:
    graph, original = Graph(files['tensorrt']), Graph(exported)
    for node in graph.of_type('Conv', 'Add'):
        assert all(graph.is_dequantized(tensor) for tensor in node.input[:2]), node.name
    assert graph.count()['Clip'] == original.count()['Clip'] > 0
    for node in graph.of_type('Clip', 'Concat', 'Gather', 'Reshape', 'Transpose'):
        # Quantised before its activation, a convolution would run without it and round twice.
        assert not graph.is_dequantized(node.input[0]), node.name
    for output in graph.proto.graph.output:
        assert not graph.is_dequantized(output.name)


# --- excluded layers -------------------------------------------------------------------------


def test_excluded_layers_stay_in_float32(name: str, exported: bytes, images: Images) -> None:
    first, *_, last = [node.name for node in Graph(exported).of_type('Conv')]
    graph = Graph(QUANTIZERS[name](exported, images[:1], {last, first}))
    by_name = {node.name: node for node in graph.nodes}
    for key in (first, last):
        assert by_name[key].input[1] in graph.weights
        assert graph.weights[by_name[key].input[1]].dtype == np.float32
        assert not graph.is_dequantized(by_name[key].input[0]), 'its input would be rounded'
    is_float = [not graph.is_dequantized(node.input[1]) for node in graph.of_type('Conv')]
    # On the CPU, the convolution before the last one would round its output.
    assert sum(is_float) == {'cpu': 3, 'tensorrt': 2}[name]


def test_an_unknown_layer_is_refused(name: str, exported: bytes, images: Images) -> None:
    with pytest.raises(ExportError, match="expected nodes of the network .*, got 'conv_1'"):
        QUANTIZERS[name](exported, images[:1], ['conv_1'])


@pytest.mark.parametrize('content', [b'', b'no network at all'])
def test_damaged_networks_are_refused(name: str, content: bytes, images: Images) -> None:
    with pytest.raises(ExportError, match='expected an ONNX network|cannot be quantised'):
        QUANTIZERS[name](content, images[:1])


def test_no_images_are_refused(name: str, exported: bytes) -> None:
    with pytest.raises(ExportError, match='expected images to calibrate .* got none'):
        QUANTIZERS[name](exported, [])


def test_images_of_another_size_are_refused(name: str, exported: bytes) -> None:
    with pytest.raises(ExportError, match=r'cannot be quantised: .*nvalid dimensions'):
        QUANTIZERS[name](exported, [np.zeros((8, 8, 3), np.uint8)])


# --- until the gate accepts ------------------------------------------------------------------


def verdict(passed: bool, map50: float = 0.5) -> GateVerdict:
    reasons = () if passed else ('dropped',)
    return GateVerdict(passed, reasons, 'stub', 1, f'sha256:{0:064}', map50, 0.6, 10, 0)


@pytest.mark.parametrize(
    ('needed', 'max_excluded', 'tried'),
    [
        (0, 8, [0]),
        (1, 8, [0, 1]),
        (3, 8, [0, 1, 2, 4]),
        (6, 6, [0, 1, 2, 4, 6]),
        (9, 6, [0, 1, 2, 4, 6]),
        (1, 0, [0]),
        (99, 99, [0, 1, 2, 4, 8, 10]),
    ],
)
def test_layers_are_excluded_until_the_gate_accepts(
    needed: int, max_excluded: int, tried: list[int], exported: bytes
) -> None:
    layers = [node.name for node in Graph(exported).of_type('Conv')][:10]
    attempts: list[int] = []

    def quantize(excluded: Collection[str]) -> bytes:
        assert list(excluded) == layers[: len(excluded)]
        attempts.append(len(excluded))
        return str(len(excluded)).encode()

    def check(network: bytes) -> GateVerdict:
        return verdict(int(network) >= needed, map50=0.5 if network == b'2' else 0.4)

    result = quantize_until_accepted(exported, quantize, check, layers, max_excluded)
    assert attempts == tried
    assert result.verdict.passed == (tried[-1] >= needed)
    best = tried[-1] if result.verdict.passed or 2 not in tried else 2
    assert result.network == str(best).encode()
    assert result.excluded == tuple(layers[:best])


def test_layers_that_do_not_exist_are_refused_before_any_work(exported: bytes) -> None:
    def fail(_: object) -> Any:
        raise AssertionError('is not called')

    with pytest.raises(ExportError, match="got 'made up'"):
        quantize_until_accepted(exported, fail, fail, ['made up'], 1)


# --- damage, and the gate --------------------------------------------------------------------

Check = Callable[[bytes], GateVerdict]


@pytest.fixture(scope='module')
def check(
    model: MobileNetSsd,
    spec: ModelSpec,
    exported: bytes,
    train_samples: list[Sample],
    val_samples: list[Sample],
) -> Check:
    """The accuracy gate; a network of random numbers finds none of the annotated objects."""
    reference = make_reference(
        TorchEngine(model), train_samples + val_samples, Thresholds(score=0.3, max_detections=20)
    )
    limits = choose_limits(GateConfig(min_map50=0, max_drop_int8=100), 'int8')
    return lambda network: check_artefact(reference, open_onnx(spec, network), limits).verdict


def scale_ranges(network: bytes, factor: float) -> bytes:
    """Make the ranges of all activations smaller."""
    proto = onnx.load_from_string(network)
    for tensor in proto.graph.initializer:
        if tensor.name.endswith('_scale') and not tensor.name.endswith(
            ('weight_scale', 'd_scale')
        ):
            scale = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(scale, tensor.name))
    return proto.SerializeToString()


def test_the_gate_accepts_both_files(name: str, files: dict[str, bytes], check: Check) -> None:
    verdict = check(files[name])
    assert verdict.passed, verdict.reasons
    assert verdict.num_detections > 20


def test_the_gate_refuses_clipped_ranges(name: str, files: dict[str, bytes], check: Check) -> None:
    verdict = check(scale_ranges(files[name], 0.1))
    assert not verdict.passed
    assert verdict.num_changed > 20


@pytest.mark.slow
def test_the_gate_refuses_the_shipped_network_with_clipped_ranges(
    name: str, train_samples: list[Sample], val_samples: list[Sample]
) -> None:
    bundle = open_bundle(shipped_bundle_path())
    spec, thresholds = bundle.manifest.spec, bundle.manifest.thresholds
    network = bundle.read(bundle.artefact('onnxruntime', 'fp32').path)
    samples = train_samples + val_samples
    reference = make_reference(open_onnx(spec, network), samples, thresholds)
    limits = choose_limits(GateConfig(max_drop_int8=10), 'int8')  # of eight images
    images = load_calibration_images(samples, spec)
    quantized = QUANTIZERS[name](network, images)
    damaged = {'clipped': scale_ranges(quantized, 0.1)}
    if name == 'cpu':  # symmetric ranges of a black image happen to suit other ones
        damaged['black'] = quantize_for_cpu(network, [np.zeros_like(images[0])])
    verdict = check_artefact(reference, open_onnx(spec, quantized), limits).verdict
    assert verdict.passed, verdict
    for content in damaged.values():
        verdict = check_artefact(reference, open_onnx(spec, content), limits).verdict
        assert not verdict.passed
        assert verdict.num_changed > 20
        assert verdict.drop > 20
