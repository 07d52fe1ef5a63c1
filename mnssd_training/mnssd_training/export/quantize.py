"""
Quantise exported networks to INT8 with ONNX Runtime.

Two files, because no graph is fast in both runtimes: kernels of CPUs multiply unsigned activations
by signed weights, and absorb ReLU6 into asymmetric ranges; TensorRT takes symmetric ranges only.
``docs/quantization.md`` has the measurements.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
import tempfile
from typing import Any, Literal

from mnssd_perception.bundle import GateVerdict
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_training.errors import ExportError
from mnssd_training.export.onnx import IR_VERSION
from mnssd_training.export.tensorrt_network import cast_image_first
import numpy as np
from numpy.typing import NDArray

Images = Sequence[NDArray[np.uint8]]
Method = Literal['MinMax', 'Percentile']

# Marks a file as ready to be quantised; without it ONNX Runtime warns through the root logger.
PREPARED = ('onnx.quant.pre_process', 'onnxruntime.quant')


@dataclass(frozen=True)
class QuantizedNetwork:
    """
    A quantised network, which need not have passed the gate.

    :ivar excluded: names of the nodes that were left in float32.
    """

    network: bytes
    excluded: tuple[str, ...]
    verdict: GateVerdict


def quantize_for_cpu(
    network: bytes,
    images: Images,
    excluded: Collection[str] = (),
    *,
    method: Method = 'MinMax',
    per_channel: bool = True,
    reduce_range: bool = False,
) -> bytes:
    """
    Quantise a network for ONNX Runtime and OpenVINO on CPUs: uint8 activations, int8 weights.

    Equal arguments give equal bytes.

    :param network: as :func:`mnssd_training.export.export_onnx` makes it.
    :param images: network inputs ``(H, W, 3)`` uint8, to measure the ranges of activations on.
    :param excluded: names of nodes to leave in float32. What makes their inputs stays in float32
        too: a quantised node rounds its output, which can be the larger part of the error.
    :param method: of choosing a range: all of it, or without the outermost 0.001 %.
    :param per_channel: a scale for each output channel of the weights.
    :param reduce_range: weights of 7 bits, for x86 processors without VNNI, whose sums saturate.
    :raises ExportError: if the network cannot be quantised.
    """
    return _quantize(
        network,
        images,
        _add_producers(network, excluded),
        is_symmetric=False,
        calibrate_method=method,
        per_channel=per_channel,
        reduce_range=reduce_range,
    )


def quantize_for_tensorrt(network: bytes, images: Images, excluded: Collection[str] = ()) -> bytes:
    """
    Quantise a network for TensorRT, symmetric with int8 activations; parameters as for the CPU.

    Convolutions and sums only. Biases stay in float32, which TensorRT adds to int32 sums, and so
    do weights, before a node that quantises them: TensorRT 8 refuses int8 weights in a file.
    """
    return _quantize(
        network,
        images,
        excluded,
        is_symmetric=True,
        per_channel=True,
        op_types_to_quantize=['Conv', 'Add'],
        extra_options={
            'ActivationSymmetric': True,
            'WeightSymmetric': True,
            'QuantizeBias': False,
            'AddQDQPairToWeight': True,
            'OpTypesToExcludeOutputQuantization': ['Conv', 'Add'],
        },
    )


def quantize_until_accepted(
    network: bytes,
    quantize: Callable[[Collection[str]], bytes],
    check: Callable[[bytes], GateVerdict],
    layers: Sequence[str],
    max_excluded: int,
) -> QuantizedNetwork:
    """
    Quantise a network, with ever more layers left in float32 until it passes the gate.

    None, one, two, four, ... are left out: a check scores the whole validation set.

    :param network: before quantisation.
    :param quantize: makes a quantised network of which the given nodes are excluded.
    :param check: the accuracy gate.
    :param layers: names of nodes, the most sensitive first.
    :param max_excluded: at most so many are left out.
    :return: the first that passed, or else, with its verdict, the one of highest AP.
    :raises ExportError: if a layer is not in the network, or quantisation fails.
    """
    _check_names(load_network(network), layers)
    attempts: list[QuantizedNetwork] = []
    limit = min(max_excluded, len(layers))
    num = 0
    while True:
        excluded = tuple(layers[:num])
        quantized = quantize(excluded)
        attempts.append(QuantizedNetwork(quantized, excluded, check(quantized)))
        if attempts[-1].verdict.passed:
            return attempts[-1]
        if num >= limit:
            return max(attempts, key=lambda attempt: attempt.verdict.map50)
        num = min(max(1, 2 * num), limit)


def _add_producers(network: bytes, names: Collection[str]) -> set[str]:
    """Add the nodes that make the inputs of some nodes, through activations."""
    proto = load_network(network)
    _check_names(proto, names)
    producers = {output: node for node in proto.graph.node for output in node.output}
    excluded = set(names)
    for node in proto.graph.node:
        pending = list(node.input) if node.name in names else []
        while pending:
            producer = producers.get(pending.pop())
            if producer is not None:
                excluded.add(producer.name)
                pending += producer.input if producer.op_type == 'Clip' else ()
    return excluded


def _quantize(
    network: bytes,
    images: Images,
    excluded: Collection[str],
    is_symmetric: bool,
    calibrate_method: Method = 'MinMax',
    extra_options: dict[str, Any] | None = None,
    **options: Any,
) -> bytes:
    import onnx

    if reason := OnnxRuntimeEngine.available():
        raise ExportError(f'quantisation needs ONNX Runtime: {reason}')
    from onnxruntime import quantization

    original = load_network(network)
    _check_names(original, excluded)
    if not images:
        raise ExportError('expected images to calibrate the quantisation on, got none')
    prepared = load_network(network)
    if is_symmetric:
        cast_image_first(prepared)
    prepared.metadata_props.add(key=PREPARED[0], value=PREPARED[1])
    activation = quantization.QuantType.QInt8 if is_symmetric else quantization.QuantType.QUInt8
    # Percentile calibration prints a line for each image.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        source, target = Path(folder) / 'network.onnx', Path(folder) / 'quantized.onnx'
        source.write_bytes(prepared.SerializeToString())
        try:
            quantization.quantize_static(
                source,
                target,
                _Reader(original.graph.input[0].name, images),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=activation,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=sorted(excluded),
                calibrate_method=quantization.CalibrationMethod[calibrate_method],
                # Of every method: to collect one image at a time keeps the activations of one.
                extra_options={'CalibStridedMinMax': 1, **(extra_options or {})},
                **options,
            )
            quantized = onnx.load(target)
        except Exception as error:  # ONNX Runtime's errors share no public base
            raise ExportError(f'the network cannot be quantised: {error}') from error
    return complete_network(quantized, original)


def complete_network(quantized: Any, original: Any) -> bytes:
    """
    Serialise a changed network with the versions and metadata of the original, and all shapes.

    :raises ExportError: if it is not valid.
    """
    import onnx

    quantized.ir_version = IR_VERSION
    quantized.producer_name = original.producer_name
    quantized.producer_version = original.producer_version
    for field in ('opset_import', 'metadata_props'):
        del getattr(quantized, field)[:]
        getattr(quantized, field).extend(getattr(original, field))
    try:
        complete = onnx.shape_inference.infer_shapes(
            quantized, check_type=True, strict_mode=True, data_prop=True
        )
        onnx.checker.check_model(complete, full_check=True)
    except Exception as error:  # of onnx, whose errors share no base
        raise ExportError(f'the quantised network is not valid ONNX: {error}') from error
    return complete.SerializeToString(deterministic=True)


def load_network(network: bytes) -> Any:
    """
    Parse an ONNX network into a ``ModelProto``.

    :raises ExportError: if it is none.
    """
    import onnx

    try:
        proto = onnx.load_from_string(network)
    except Exception as error:  # of Protocol Buffers, which raises its own kinds
        raise ExportError(f'expected an ONNX network to quantise: {error}') from error
    if not proto.graph.input:
        raise ExportError('expected an ONNX network to quantise, got one without inputs')
    return proto


def _check_names(proto: Any, names: Collection[str]) -> None:
    """Refuse names of nodes that the network does not have, which would silently do nothing."""
    existing = {node.name for node in proto.graph.node}
    if unknown := sorted(set(names) - existing):
        raise ExportError(
            f'expected nodes of the network to leave in float32, got {unknown[0]!r}; '
            'the sensitivity report lists their names'
        )


class _Reader:
    """Gives images to ONNX Runtime, of a range that it sets."""

    def __init__(self, name: str, images: Images) -> None:
        self._name, self._images = name, images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Continue with some of the images."""
        self._remaining = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next input; None after the last."""
        image = next(self._remaining, None)
        return None if image is None else {self._name: image}
