"""
Export networks in the form that Hailo's Dataflow Compiler takes.

The compiler knows convolutions, not the reshaping behind them, so the network ends at the last
convolutions of its heads; :mod:`mnssd_perception.engines.head_maps` joins their outputs on the
drone. It begins behind the normalisation, which a line of the compiler's model script puts on the
chip, where it costs nothing.
"""

from dataclasses import dataclass

from mnssd_perception.engines.head_maps import list_head_maps
from mnssd_perception.ssd import ModelSpec
from mnssd_training.errors import ExportError
from mnssd_training.export.onnx import add_spec, export_module
from mnssd_training.model import MobileNetSsd
import torch
from torch import nn

INPUT = 'images'


@dataclass(frozen=True)
class HailoNetwork:
    """
    A network for the Dataflow Compiler.

    :ivar network: ONNX file. Input ``images`` ``(1, 3, H, W)`` float32 RGB, normalised. Outputs
        ``logits_0``, ... and ``offsets_0``, ..., one map ``(1, channels, rows, columns)`` for each
        head and level.
    :ivar end_nodes: the nodes that make the outputs, in that order.
    """

    network: bytes
    spec: ModelSpec
    end_nodes: tuple[str, ...]
    start_node: str = INPUT


class _HeadMaps(nn.Module):
    """The network without normalisation, up to the last convolution of each head and level."""

    def __init__(self, model: MobileNetSsd) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.model.pyramid(self.model.backbone(images))
        return (*self.model.logits.predict_maps(maps), *self.model.offsets.predict_maps(maps))


def export_for_hailo(model: MobileNetSsd) -> HailoNetwork:
    """
    Export a network for the Dataflow Compiler.

    Of the two exporters of PyTorch, the current one writes only convolutions, Clip, Add and
    Resize with constant sizes; the former one, for older opsets, computes the sizes of feature
    pyramids in the graph. Its names are not stable, so the end nodes get those of the outputs.

    :param model: in evaluation mode, on the CPU.
    :raises ExportError: if the exporter fails, or an output is not that of a convolution.
    """
    maps = list_head_maps(model.spec)
    names = tuple(item.name for item in maps)
    example = torch.zeros(1, 3, *model.spec.input_size)
    network = export_module(_HeadMaps(model), example, INPUT, names)
    producers = {output: node for node in network.graph.node for output in node.output}
    for output, item in zip(network.graph.output, maps):
        rows, columns, channels = item.shape
        shape = [side.dim_value for side in output.type.tensor_type.shape.dim]
        node = producers[output.name]
        if (output.name, shape, node.op_type) != (item.name, [1, channels, rows, columns], 'Conv'):
            raise ExportError(
                f"expected output '{item.name}' of shape {[1, channels, rows, columns]} from a "
                f"convolution, got '{output.name}' of shape {shape} from {node.op_type}"
            )
        node.name = item.name
    return HailoNetwork(add_spec(network, model.spec).SerializeToString(), model.spec, names)
