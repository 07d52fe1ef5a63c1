"""Export trained networks to ONNX, with the specification in the metadata."""

import json
from pathlib import Path
import tempfile
from typing import TYPE_CHECKING
import warnings

from mnssd_perception.errors import SpecError
from mnssd_perception.serialization import from_plain, to_plain
from mnssd_perception.ssd import ModelSpec, prior_digest
from mnssd_training.errors import ExportError
from mnssd_training.model import MobileNetSsd
import torch
from torch import nn

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the oldest that the exporter writes; every engine reads it

# The exporter writes 10, which ONNX Runtime reads from 1.18 on; this one loads in 1.15 too. What
# came between are number types of 4 and 8 bits, and metadata of nodes.
IR_VERSION = 8

# Key in the metadata of the file: with it, the file alone can be scored and flown.
SPEC_KEY = 'mnssd_spec'


class _SingleImage(nn.Module):
    """The network without a batch dimension."""

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
    :raises ExportError: if the exporter fails or writes something else.
    """
    image = torch.zeros((*model.spec.input_size, 3), dtype=torch.uint8)
    network = export_module(_SingleImage(model), image, 'image', ('logits', 'offsets'))
    return add_spec(network, model.spec).SerializeToString()


def export_module(
    module: nn.Module,
    example: torch.Tensor,
    input_name: str,
    output_names: tuple[str, ...],
    *,
    is_batch: bool = False,
) -> 'onnx.ModelProto':
    """
    Export a module with one input, with all weights inside.

    :param is_batch: the first dimension of the input is dynamic, and called ``batch``; the example
        has at least 2 images, because the exporter takes a 1 for a constant.
    :raises ExportError: if the exporter fails or writes another opset.
    """
    import onnx

    dynamic_shapes = ({0: torch.export.Dim('batch', min=1)},) if is_batch else None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        path = Path(folder) / 'network.onnx'
        try:
            torch.onnx.export(
                module.eval(),
                (example,),
                path,
                input_names=[input_name],
                output_names=list(output_names),
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                dynamic_shapes=dynamic_shapes,
                verbose=False,
            )
            network = onnx.load(path)
            network.ir_version = IR_VERSION
            onnx.checker.check_model(network, full_check=True)
        except Exception as error:  # the exporter raises all kinds of errors
            raise ExportError(f'the network cannot be exported to ONNX: {error}') from error
    written = {entry.domain: entry.version for entry in network.opset_import}.get('')
    if written != OPSET:
        raise ExportError(f'expected ONNX opset {OPSET}, the exporter wrote {written}')
    for node in network.graph.node:  # traces of the exporting machine: files and line numbers
        del node.metadata_props[:]
        node.doc_string = ''
    del network.metadata_props[:], network.graph.metadata_props[:]
    return network


def add_spec(network: 'onnx.ModelProto', spec: ModelSpec) -> 'onnx.ModelProto':
    """Write the specification into the metadata of a network, and return that network."""
    metadata = {'spec': to_plain(spec), 'prior_digest': prior_digest(spec)}
    network.metadata_props.add(key=SPEC_KEY, value=json.dumps(metadata, sort_keys=True))
    return network


def read_spec(path: Path, network: bytes) -> ModelSpec:
    """
    Read the specification in the metadata of an ONNX network; messages name its ``path``.

    :raises ExportError: if it is not an ONNX network, or was not exported by mnssd.
    """
    import onnx

    try:
        properties = onnx.load_from_string(network).metadata_props
    except Exception as error:  # of Protocol Buffers, which raises its own kinds
        raise ExportError(f'{path}: not an ONNX network, or cut short') from error
    texts = [entry.value for entry in properties if entry.key == SPEC_KEY]
    if not texts:
        raise ExportError(
            f'{path}: expected an ONNX network with the metadata {SPEC_KEY!r}, got one without; '
            'export the checkpoint again, or name its bundle'
        )
    try:
        metadata = json.loads(texts[0])
        spec = from_plain(ModelSpec, metadata['spec'], SpecError)
        digest = metadata['prior_digest']
    except (KeyError, RecursionError, SpecError, TypeError, ValueError) as error:
        raise ExportError(f'{path}: its metadata {SPEC_KEY!r} is damaged: {error}') from error
    if digest != prior_digest(spec):
        raise ExportError(f'{path}: its priors are not those that this version of mnssd computes')
    return spec
