"""A trained network to an ONNX network under the contract."""

from pathlib import Path
import tempfile
import warnings

from mnssd_training.errors import ExportError
from mnssd_training.model import MobileNetSsd
import torch
from torch import nn

__all__ = ['export_onnx', 'OPSET']

OPSET = 18  # the oldest that the exporter writes; every engine reads it


class _Contract(nn.Module):
    """One uint8 image in, raw heads out, no batch dimension."""

    def __init__(self, model: MobileNetSsd) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, offsets = self.model(image[None])
        return logits[0], offsets[0]


def export_onnx(model: MobileNetSsd) -> bytes:
    """
    Export a network: ``image`` (H, W, 3) uint8 to ``logits`` (P, C + 1) and ``offsets`` (P, 4).

    :param model: in evaluation mode, on the CPU.
    :return: the serialised ONNX network.
    :raises ExportError: if the exporter fails or writes something else.
    """
    import onnx

    image = torch.zeros((*model.spec.input_size, 3), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        path = Path(folder) / 'network.onnx'
        try:
            torch.onnx.export(
                _Contract(model).eval(),
                (image,),
                path,
                input_names=['image'],
                output_names=['logits', 'offsets'],
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
            network = onnx.load(path)
            onnx.checker.check_model(network, full_check=True)
        except Exception as error:  # the exporter raises whatever went wrong inside it
            raise ExportError(f'the network cannot be exported to ONNX: {error}') from error
    written = {entry.domain: entry.version for entry in network.opset_import}.get('')
    if written != OPSET:
        raise ExportError(f'expected ONNX opset {OPSET}, the exporter wrote {written}')
    del network.metadata_props[:]
    for node in network.graph.node:  # traces of the exporting machine: files and line numbers
        del node.metadata_props[:]
        node.doc_string = ''
    return network.SerializeToString()
