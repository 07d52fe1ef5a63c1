"""Check the structure of any ONNX file, and compare what it computes with a trained network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnssd_perception.bundle import GateVerdict
from mnssd_perception.engines import Engine, EngineInfo, open_onnx
from mnssd_perception.engines.onnx_check import check_onnx, MIN_OPSET, OPERATORS
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import encode_boxes, generate_priors, ModelSpec, Thresholds
from mnssd_perception.text import sanitize_text
from mnssd_training.config import GateConfig
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ExportError
from mnssd_training.export.gate import check_artefact, choose_limits, make_reference
from mnssd_training.export.parity import compare_heads, HeadDifferences, Precision
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Signature = tuple[str, tuple[int | str, ...]]  # type and shape

BATCH = 'batch'

# Decoded boxes need an exponential; such a file is for other programs than the drone's.
DECODED_OPERATORS = OPERATORS | {'Exp'}


@dataclass(frozen=True)
class NetworkForm:
    """Inputs and outputs that a network has, each with type and shape."""

    name: str
    inputs: Mapping[str, Signature]
    outputs: Mapping[str, Signature]


@dataclass(frozen=True)
class NetworkStructure:
    """
    What a file is.

    :ivar form: that fits best: ``network``, ``batch`` or ``decoded``.
    :ivar problems: why the file does not fit that form; empty if it does.
    """

    form: str
    precision: Precision
    opset: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """
    Comparison of a file with the network that it should be.

    :ivar heads: None for a file of another form, which is not run.
    :ivar verdict: of the accuracy gate, without its smallest AP; None without annotated images.
    """

    structure: NetworkStructure
    heads: HeadDifferences | None = None
    verdict: GateVerdict | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the file does not match; empty if it does."""
        differences = self.heads.exceeding(self.structure.precision) if self.heads else ()
        reasons = self.verdict.reasons if self.verdict else ()
        return (*self.structure.problems, *differences, *reasons)


def make_forms(spec: ModelSpec) -> tuple[NetworkForm, ...]:
    """List the forms in which mnssd exports networks."""
    image = (*spec.input_size, 3)
    logits, offsets = (spec.num_priors, spec.num_classes + 1), (spec.num_priors, 4)
    heads = {'logits': ('float32', logits), 'offsets': ('float32', offsets)}
    return (
        NetworkForm('network', {'image': ('uint8', image)}, heads),
        NetworkForm(
            'batch',
            {'image': ('uint8', (BATCH, *image))},
            {name: (dtype, (BATCH, *shape)) for name, (dtype, shape) in heads.items()},
        ),
        NetworkForm(
            'decoded',
            {'input_image': ('float32', (BATCH, *image))},
            {'boxes': ('float32', (BATCH, *offsets)), 'scores': ('float32', (BATCH, *logits))},
        ),
    )


def validate_network(
    network: bytes,
    model: MobileNetSsd,
    images: Iterable[NDArray[np.uint8]],
    samples: Sequence[Sample] = (),
    thresholds: Thresholds = Thresholds(),
) -> Validation:
    """
    Check the structure of an ONNX file, and compare what it computes with a trained network.

    :param images: network inputs, ``(H, W, 3)`` uint8, to compare raw heads on; at least one.
    :param samples: to compare detections on; none for raw heads only.
    :param thresholds: of the detections.
    :raises ExportError: if it is no ONNX file.
    :raises EngineError: if it cannot be run, or computes values that are not finite.
    """
    structure = inspect_network(network, model.spec)
    if structure.problems:
        return Validation(structure)
    reference, engine = TorchEngine(model), open_form(model.spec, network, structure.form)
    try:
        heads = compare_heads(reference, engine, images)
        if not samples:
            return Validation(structure, heads)
        limits = choose_limits(GateConfig(min_map50=0), structure.precision)
        expected = make_reference(reference, samples, thresholds)
        return Validation(structure, heads, check_artefact(expected, engine, limits).verdict)
    finally:
        engine.close()


def inspect_network(network: bytes, spec: ModelSpec) -> NetworkStructure:
    """
    Find out what an ONNX file is, and what does not fit.

    :param spec: of the network that it should be.
    :raises ExportError: if it is no ONNX file.
    """
    import onnx

    try:
        proto = onnx.load_from_string(network)
    except Exception as error:  # of Protocol Buffers, which raises its own kinds
        raise ExportError('not an ONNX network, or cut short') from error
    if not proto.graph.node:
        raise ExportError('expected an ONNX network, got one without operators')
    candidates = [(_compare_form(proto.graph, form), form.name) for form in make_forms(spec)]
    problems, form = min(candidates, key=lambda candidate: len(candidate[0]))
    opset = max((item.version for item in proto.opset_import if not item.domain), default=0)
    operators = DECODED_OPERATORS if form == 'decoded' else OPERATORS
    problems += [
        f'expected all weights inside the file, tensor {tensor.name!r} is in another one'
        for tensor in proto.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    unknown = sorted({_operator(node) for node in proto.graph.node} - operators)
    if unknown:
        problems.append(f'unsupported operators: {", ".join(unknown)}')
    if opset < MIN_OPSET:
        problems.append(f'expected opset {MIN_OPSET} or later, got {opset}')
    if not problems:
        problems += _check_file(proto, network, form)
    return NetworkStructure(
        form, _precision(proto), opset, tuple(sanitize_text(text, 500) for text in problems)
    )


def open_form(spec: ModelSpec, network: bytes, form: str) -> Engine:
    """
    Open a network of a form in ONNX Runtime.

    :raises EngineError: if it cannot be loaded.
    """
    if form == 'decoded':
        return DecodedEngine(spec, network)
    return open_onnx(spec, network, 'onnxruntime')


class DecodedEngine(Engine):
    """
    Runs a network with decoded boxes, and computes raw heads from them.

    With those, it is compared and scored as all others. It loses what decoding loses: the sum of
    the logits of a prior, and sizes beyond 1000 times that of the prior.
    """

    def __init__(self, spec: ModelSpec, network: bytes) -> None:
        super().__init__(spec)
        if reason := OnnxRuntimeEngine.available():
            raise EngineError(f'a decoded network needs ONNX Runtime: {reason}')
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(
                network, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime's errors share no public base
            raise EngineError(f'not an ONNX network that can be loaded: {error}') from error
        version = str(onnxruntime.__version__)
        self.info = EngineInfo('ONNX Runtime, decoded', version, 'fp32', 'CPU')

    @staticmethod
    def available() -> str | None:
        """Say why ONNX Runtime cannot be used, or None if it can."""
        return OnnxRuntimeEngine.available()

    def _run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inputs = {'input_image': image[None] / np.float32(255)}
        boxes, scores = self._session.run(['boxes', 'scores'], inputs)
        logits = np.log(np.maximum(scores[0], np.finfo(np.float32).tiny))
        priors = generate_priors(self.spec)
        return logits, encode_boxes(boxes[0], priors, self.spec.variances)

    def _close(self) -> None:
        self._session = None


def _compare_form(graph: 'onnx.GraphProto', form: NetworkForm) -> list[str]:
    """List what a graph would have to change for a form."""
    constants = {tensor.name for tensor in graph.initializer}
    problems = []
    for role, values, expected in (
        ('input', [value for value in graph.input if value.name not in constants], form.inputs),
        ('output', graph.output, form.outputs),
    ):
        actual = {value.name: _signature(value) for value in values}
        for name, (dtype, shape) in expected.items():
            wanted = f'expected an {role} {name!r} of {dtype} {_join(shape)}'
            if name not in actual:
                others = ', '.join(f'{key!r} of {t} {_join(s)}' for key, (t, s) in actual.items())
                problems.append(f'{wanted}, got {others or "none"}')
            elif (dtype, shape) != _with_batch_name(actual[name], shape):
                problems.append(f'{wanted}, got {actual[name][0]} {_join(actual[name][1])}')
        if extra := sorted(actual.keys() - expected.keys()):
            problems.append(f'unexpected {role}s: {", ".join(extra)}')
    return problems


def _with_batch_name(signature: Signature, shape: tuple[int | str, ...]) -> Signature:
    """Rename the dynamic leading dimension of a shape as in another one."""
    dtype, sides = signature
    if sides and shape and isinstance(sides[0], str) and isinstance(shape[0], str):
        sides = (shape[0], *sides[1:])
    return dtype, sides


def _signature(value: 'onnx.ValueInfoProto') -> Signature:
    from onnx import helper

    tensor = value.type.tensor_type
    try:
        dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = 'no type'
    return dtype, tuple(
        dim.dim_value if dim.HasField('dim_value') else dim.dim_param or '?'
        for dim in tensor.shape.dim
    )


def _join(shape: tuple[int | str, ...]) -> str:
    return f'({", ".join(map(str, shape))})'


def _operator(node: 'onnx.NodeProto') -> str:
    return node.op_type if node.domain in ('', 'ai.onnx') else f'{node.domain}.{node.op_type}'


def _precision(proto: 'onnx.ModelProto') -> Precision:
    """Tell in what precision the convolutions of a network compute."""
    from onnx import TensorProto

    if any(node.op_type == 'QuantizeLinear' for node in proto.graph.node):
        return 'int8'
    weights = {node.input[1] for node in proto.graph.node if node.op_type == 'Conv'}
    types = {tensor.data_type for tensor in proto.graph.initializer if tensor.name in weights}
    return 'fp16' if TensorProto.FLOAT16 in types else 'fp32'


def _check_file(proto: 'onnx.ModelProto', network: bytes, form: str) -> list[str]:
    """Check a file of the right form as the drone does, or as ONNX does."""
    from onnx import checker

    try:
        if form == 'decoded':
            checker.check_model(proto, full_check=True)
        else:
            check_onnx(network)
    except EngineError as error:
        return [str(error)]
    except Exception as error:  # of onnx, whose errors share no base
        return [f'not valid ONNX: {error}']
    return []
