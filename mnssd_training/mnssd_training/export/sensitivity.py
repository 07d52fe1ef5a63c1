"""
Measure which layers of a network lose most by quantisation.

Each layer is quantised alone, with the scales that it has in the quantised network, and the heads
are compared with those of the original network. The activations of a network that is quantised
everywhere would mix the errors of all earlier layers, and the error of a layer's own output says
little about the heads.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

from mnssd_perception.engines import Engine, open_onnx
from mnssd_training.errors import ExportError
from mnssd_training.export.onnx import read_spec
from mnssd_training.export.quantize import complete_network, Images, load_network
from mnssd_training.reporting.tables import format_table
import numpy as np
from numpy.typing import NDArray

# Per image: those most likely to become detections. What happens to the thousands of others, all
# clearly background, changes no detection.
NUM_PRIORS = 300

MAX_DB = 200.0  # where nothing changed


@dataclass(frozen=True)
class LayerSensitivity:
    """
    What quantising one layer alone does to the heads.

    :ivar layer: name of the node, by which quantisation excludes it.
    :ivar weights: name of its weights, as in the checkpoint; empty where it has none.
    :ivar operator: of ONNX.
    :ivar logits_db: signal to noise ratio of the logits, dB, where the change is the noise.
    :ivar offsets_db: the same of the offsets.
    """

    layer: str
    weights: str
    operator: str
    logits_db: float
    offsets_db: float

    @property
    def sqnr_db(self) -> float:
        """Signal to noise ratio of the head that suffers more, dB."""
        return min(self.logits_db, self.offsets_db)


def measure_sensitivity(
    network: bytes,
    quantized: bytes,
    images: Images,
    progress: Callable[[int], object] | None = None,
) -> tuple[LayerSensitivity, ...]:
    """
    Measure the sensitivity of each quantised layer, the most sensitive first.

    A layer takes as long as it takes to open the network and to run it on the images; few suffice.

    :param network: before quantisation.
    :param quantized: by a function of :mod:`mnssd_training.export.quantize`.
    :param images: network inputs ``(H, W, 3)`` uint8.
    :param progress: is called with the number of layers done since the last call.
    :raises ExportError: if there is no image, or the two are not of one network.
    """
    if not images:
        raise ExportError('expected images to measure the sensitivity of layers on, got none')
    original, graph = load_network(network), load_network(quantized).graph
    spec = read_spec(Path('network'), network)
    if missing := {node.name for node in original.graph.node if node.op_type == 'Conv'} - {
        node.name for node in graph.node
    }:
        raise ExportError(
            'expected a network and its quantised form, got a quantised network without '
            f'the node {min(missing)!r}'
        )
    engine = open_onnx(spec, network)
    priors = [_choose_priors(engine, image) for image in images]
    expected = _run(engine, images, priors)
    layers = []
    for index, inserted in _quantized_inputs(original.graph, graph):
        changed = _run(open_onnx(spec, _quantize_one(original, index, inserted)), images, priors)
        node = original.graph.node[index]
        weights = [name for name in node.input if name.endswith('.weight')]
        layers.append(
            LayerSensitivity(
                node.name,
                weights[0].removesuffix('.weight').removeprefix('model.') if weights else '',
                node.op_type,
                *(_sqnr(before, after) for before, after in zip(expected, changed)),
            )
        )
        if progress:
            progress(1)
    return tuple(sorted(layers, key=lambda layer: (layer.sqnr_db, layer.layer)))


def sensitivity_table(layers: Sequence[LayerSensitivity]) -> str:
    """Lay the sensitivities out for a terminal, with a header."""
    header = ('layer', 'operator', 'weights', 'logits [dB]', 'offsets [dB]')
    rows = [
        (
            layer.layer,
            layer.operator,
            layer.weights or '-',
            f'{layer.logits_db:.1f}',
            f'{layer.offsets_db:.1f}',
        )
        for layer in layers
    ]
    return format_table([header, *rows])


@dataclass(frozen=True)
class _Inserted:
    """The nodes and tensors that quantise the inputs of a node, and the names of its inputs."""

    nodes: list[Any]
    tensors: list[Any]
    inputs: list[str]


def _quantized_inputs(original: Any, quantized: Any) -> Iterator[tuple[int, _Inserted]]:
    """Yield the index of each node with quantised inputs, and what quantises them."""
    producers = {output: node for node in quantized.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in quantized.initializer}
    counterparts = {node.name: node for node in quantized.node}
    for index, node in enumerate(original.node):
        counterpart = counterparts.get(node.name)
        if counterpart is None:  # a Clip that quantisation absorbed
            continue
        inserted = _Inserted([], [], list(node.input))
        for number, (name, key) in enumerate(zip(node.input, counterpart.input)):
            chain = _find_chain(producers, key)
            if not chain:
                continue
            inserted.inputs[number] = f'{node.name}_input_{number}'
            inserted.nodes.extend(_copy_chain(chain, name, inserted.inputs[number]))
            inserted.tensors.extend(
                tensors[key] for step in chain for key in step.input if key in tensors
            )
        if inserted.nodes:
            yield index, inserted


def _find_chain(producers: dict[str, Any], name: str) -> list[Any]:
    """Find the nodes that quantise and dequantise a tensor, or only dequantise a stored one."""
    chain: list[Any] = []
    for operator in ('DequantizeLinear', 'QuantizeLinear'):
        node = producers.get(name)
        if node is None or node.op_type != operator:
            break
        chain.insert(0, node)
        name = node.input[0]
    return chain


def _copy_chain(chain: Sequence[Any], source: str, target: str) -> Iterator[Any]:
    """Copy the nodes of a chain, so that they lead from one tensor to another."""
    for step, node in enumerate(chain):
        copy = type(node)()
        copy.CopyFrom(node)
        if node.op_type == 'QuantizeLinear' or step:
            copy.input[0] = source
        source = target if node is chain[-1] else f'{target}_quantized'
        copy.name = copy.output[0] = source
        yield copy


def _quantize_one(original: Any, index: int, inserted: _Inserted) -> bytes:
    """Make a network in which one node has quantised inputs."""
    single = type(original)()
    single.CopyFrom(original)
    graph = single.graph
    graph.node[index].input[:] = inserted.inputs
    for offset, node in enumerate(inserted.nodes):
        graph.node.insert(index + offset, node)
    names = {tensor.name for tensor in graph.initializer}
    added = {tensor.name: tensor for tensor in inserted.tensors if tensor.name not in names}
    graph.initializer.extend(added.values())
    return complete_network(single, original)


def _run(
    engine: Engine, images: Images, priors: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Collect the logits and the offsets of the chosen priors of all images, and close."""
    heads = []
    for image, chosen in zip(images, priors):
        raw = engine.infer(image)
        heads.append((raw.logits[chosen], raw.offsets[chosen]))
    engine.close()
    logits, offsets = (np.concatenate(head) for head in zip(*heads))
    return logits, offsets


def _choose_priors(engine: Engine, image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Choose the priors that are most likely to become detections."""
    logits = engine.infer(image).logits
    margins = logits[:, 1:].max(axis=1) - logits[:, 0]
    return np.argsort(-margins, kind='stable')[:NUM_PRIORS]


def _sqnr(signal: NDArray[np.float32], changed: NDArray[np.float32]) -> float:
    """Compute the signal to noise ratio, dB, where the change is the noise."""
    noise = float(np.linalg.norm(changed.astype(np.float64) - signal))
    power = float(np.linalg.norm(signal.astype(np.float64)))
    return min(MAX_DB, 20 * math.log10(power / noise)) if noise and power else MAX_DB
