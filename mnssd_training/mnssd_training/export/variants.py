"""
Export the other forms of a network: batches, float16, and decoded boxes for other programs.

The network of :func:`mnssd_training.export.onnx.export_onnx` is what the drone runs. TensorRT
builds its float16 engine from a file in float16, and a server processes several images at once.
Programs without the post-processing of mnssd read decoded boxes, in the format of the pipeline
that mnssd succeeds.
"""

from dataclasses import dataclass
import io
from math import floor
from typing import TYPE_CHECKING

from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.ssd import generate_priors
from mnssd_training.errors import ExportError
from mnssd_training.export.onnx import add_spec, export_module, IR_VERSION
from mnssd_training.export.tensorrt_network import cast_image_first
from mnssd_training.loss.localization import decode_boxes
from mnssd_training.model import MobileNetSsd
import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    import onnx

NUM_EXAMPLES = 2  # images; the exporter takes a batch of 1 for a constant

DECODED_OPSET = 17  # of the files that users of the former pipeline have


@dataclass(frozen=True)
class DecodedNetwork:
    """
    A network that decodes its boxes, for programs other than mnssd.

    :ivar network: ONNX file. Input ``input_image`` ``(B, H, W, 3)`` float32 RGB in [0, 1]. Outputs
        ``boxes`` ``(B, P, 4)`` float32 xyxy, fractions of the network input, not clipped, and
        ``scores`` ``(B, P, C + 1)`` float32, softmax, background in column 0.
    :ivar priors: NumPy file with ``(P, 4)`` float32 cxcywh, fractions of the network input, in the
        order of the boxes.
    :ivar opset: of the file; 17, or 18 for a backbone with operators that 17 lacks.
    """

    network: bytes
    priors: bytes
    opset: int


class _DecodedBoxes(nn.Module):
    """The network with normalised input, softmax and decoded boxes."""

    priors: torch.Tensor

    def __init__(self, model: MobileNetSsd) -> None:
        super().__init__()
        self.model = model
        priors = torch.from_numpy(generate_priors(model.spec).copy())
        self.register_buffer('priors', priors, persistent=False)

    def forward(self, input_image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, offsets = self.model(input_image * 255)
        boxes = decode_boxes(offsets, self.priors, self.model.spec.variances)
        return boxes, logits.softmax(dim=-1)


def export_batch(model: MobileNetSsd) -> bytes:
    """
    Export a network for batches of any size.

    ``image`` (B, H, W, 3) uint8 to ``logits`` (B, P, C + 1) and ``offsets`` (B, P, 4) float32.

    :param model: in evaluation mode, on the CPU.
    :raises ExportError: if the exporter fails or writes something else.
    """
    images = torch.zeros((NUM_EXAMPLES, *model.spec.input_size, 3), dtype=torch.uint8)
    network = export_module(model, images, 'image', ('logits', 'offsets'), is_batch=True)
    _make_sizes_constant(network)
    return add_spec(network, model.spec).SerializeToString()


def export_decoded(model: MobileNetSsd) -> DecodedNetwork:
    """
    Export a network that decodes its boxes, in ONNX opset 17 where possible.

    :param model: in evaluation mode, on the CPU.
    :raises ExportError: if the exporter fails or writes something else.
    """
    from onnx import checker, version_converter

    images = torch.zeros(NUM_EXAMPLES, *model.spec.input_size, 3)
    network = export_module(
        _DecodedBoxes(model), images, 'input_image', ('boxes', 'scores'), is_batch=True
    )
    _make_sizes_constant(network)
    try:
        older = version_converter.convert_version(network, DECODED_OPSET)
        older.ir_version = IR_VERSION
        checker.check_model(older, full_check=True)
        network = older
    except Exception:
        pass
    opset = network.opset_import[0].version
    priors = io.BytesIO()
    np.save(priors, generate_priors(model.spec).astype(np.float32))
    encoded = add_spec(network, model.spec).SerializeToString()
    return DecodedNetwork(encoded, priors.getvalue(), opset)


def convert_to_fp16(network: bytes) -> bytes:
    """
    Convert a network to float16, with the inputs, outputs and metadata that it had.

    Normalisation is in float16 too: its rounding is no larger than that of its result.

    :param network: from :func:`export_onnx` or :func:`export_batch`.
    :raises ExportError: if it cannot be converted.
    """
    import onnx

    if reason := OnnxRuntimeEngine.available():
        raise ExportError(f'the conversion to float16 needs ONNX Runtime: {reason}')
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    try:
        proto = onnx.load_from_string(network)
        cast_image_first(proto)
        ir_version = proto.ir_version
        # Nothing is left out: Resize, which the converter would keep in float32, only copies here.
        half = convert_float_to_float16(proto, keep_io_types=True, op_block_list=[])
        converted = OnnxModel(half)
        converted.topological_sort()  # the converter appends the casts
        result = onnx.shape_inference.infer_shapes(
            converted.model, check_type=True, strict_mode=True
        )
        result.ir_version = ir_version
        onnx.checker.check_model(result, full_check=True)
    except ExportError:
        raise
    except Exception as error:  # onnx and ONNX Runtime raise all kinds of errors
        raise ExportError(f'the network cannot be converted to float16: {error}') from error
    return result.SerializeToString()


def _make_sizes_constant(network: 'onnx.ModelProto') -> None:
    """
    Resize by constant scales, not to sizes that are computed from the batch.

    Engines refuse shapes that are computed at run time, or lose time with them.
    """
    import onnx
    from onnx import numpy_helper

    graph = network.graph
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in graph.value_info
    }
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Resize' and node.input[3] not in constants:
            pairs = zip(shapes[node.input[0]][2:], shapes[node.output[0]][2:])
            scales = np.array([1, 1, *(_scale(*pair) for pair in pairs)], np.float32)
            name = f'{node.name}_scales'
            graph.initializer.append(numpy_helper.from_array(scales, name))
            node.input[:] = [node.input[0], '', name]
    _remove_unused(graph)
    onnx.checker.check_model(network, full_check=True)


def _scale(size: int, target: int) -> float:
    """Compute the scale that takes a side to another one, which engines round down."""
    scale = np.float32(target / size)
    if floor(np.float32(size) * scale) < target:
        scale = np.nextafter(scale, np.float32(np.inf))
    return float(scale)


def _remove_unused(graph: 'onnx.GraphProto') -> None:
    """Remove the nodes and constants whose results nobody uses."""
    used = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            nodes.append(node)
            used.update(node.input)
    made = {name for node in nodes for name in node.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    infos = [info for info in graph.value_info if info.name in made]
    for field, values in (
        (graph.node, nodes[::-1]),
        (graph.initializer, kept),
        (graph.value_info, infos),
    ):
        del field[:]
        field.extend(values)
