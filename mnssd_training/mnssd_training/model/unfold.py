"""
Recover trainable weights from an exported network.

The exporter folds a batch normalisation into the convolution before it. Layers are found by their
order, which the exporter keeps: it merges and renames tensors, so their names tell less. A folded
normalisation becomes one that does nothing but add the bias, which is the same function. In
training it would normalise by the statistics of the batch and lose what the convolution has
learnt, so :func:`measure_norms` then writes each normalisation anew, as the same function with the
statistics of real images.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from mnssd_perception.text import sanitize_text
from mnssd_training.errors import CheckpointError
from mnssd_training.model.mobilenet_ssd import MobileNetSsd
import torch
from torch import nn

PREFIX = 'model.'  # of the network in what is exported


def recover_weights(model: MobileNetSsd, network: bytes) -> dict[str, torch.Tensor]:
    """
    Recover the weights of an exported network.

    :param model: a network of the same specification and configuration; not changed.
    :param network: the ONNX file, which an engine has checked: an external tensor would be read.
    :return: a state dict, by which the model computes what the file does, in evaluation.
    :raises CheckpointError: if it cannot be read, or is the file of another network.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load_from_string(network).graph
        tensors = {
            item.name: torch.from_numpy(numpy_helper.to_array(item).copy())
            for item in graph.initializer
        }
    except Exception as error:  # Protocol Buffers, onnx and PyTorch raise their own kinds
        reason = sanitize_text(error)
        raise CheckpointError(f'expected an ONNX network with whole tensors: {reason}') from error
    nodes = [node for node in graph.node if node.op_type in ('Conv', 'BatchNormalization')]
    state = model.state_dict()
    found = {key: tensors.get(f'{PREFIX}{key}', value) for key, value in state.items()}
    try:
        found |= _by_order(model, iter([*nodes, None]), tensors)
    except (IndexError, KeyError) as error:
        raise CheckpointError(f'its network lacks a layer of this one: {error}') from error
    for key, value in state.items():
        if found[key].shape != value.shape:
            raise CheckpointError(
                f'{key}: expected the shape {tuple(value.shape)}, got {tuple(found[key].shape)}'
            )
    return found


def measure_norms(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """
    Give each batch normalisation the statistics of what it normalises.

    Its weights change with them, so that the network computes the same in evaluation. In training,
    where the statistics of a batch take their place, it then computes nearly the same.

    :param model: the network, in evaluation mode, in place.
    :param batches: inputs of the network, at least one.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def add(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x.numel() / x.shape[1], dtype=torch.float64)
        sums[norm] += torch.stack((count, x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))))

    handles = [norm.register_forward_pre_hook(add) for norm in norms]
    try:
        with torch.inference_mode():
            for batch in batches:
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    with torch.no_grad():
        for norm, (count, total, squares) in sums.items():
            mean = total / count
            variance = (squares / count - mean * mean).clamp(min=0)
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            norm.bias += scale * (mean - norm.running_mean.double())
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


def _by_order(
    model: MobileNetSsd, nodes: Iterator[Any], tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Pair layers with nodes of the graph, both in the order in which they compute."""
    found = {}
    node, bias = next(nodes), torch.zeros(0)
    for name, layer in _called_layers(model):
        if isinstance(layer, nn.Conv2d):
            if node is None or node.op_type != 'Conv':
                raise KeyError(name)
            weight, *rest = (tensors[key] for key in node.input[1:])
            bias = rest[0] if rest else torch.zeros(len(weight))
            found[f'{name}.weight'] = weight
            if layer.bias is not None:
                found[f'{name}.bias'], bias = bias, torch.zeros(len(weight))
        elif node is not None and node.op_type == 'BatchNormalization':
            keys = ('weight', 'bias', 'running_mean', 'running_var')
            found |= {f'{name}.{key}': tensors[own] for key, own in zip(keys, node.input[1:])}
        else:
            ones = torch.ones(len(bias))
            found[f'{name}.weight'], found[f'{name}.bias'] = ones, bias
            found[f'{name}.running_mean'] = torch.zeros(len(bias))
            found[f'{name}.running_var'] = ones - layer.eps
            continue
        node = next(nodes)
    if node is not None:
        raise KeyError(f'node {node.name}')
    return found


def _called_layers(model: MobileNetSsd) -> list[tuple[str, Any]]:
    """List convolutions and batch normalisations with their names, as they are called."""
    called: list[tuple[str, Any]] = []
    handles = [
        layer.register_forward_hook(
            lambda layer, _inputs, _output, name=name: called.append((name, layer))
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        with torch.inference_mode():
            model(torch.zeros((1, *model.spec.input_size, 3), dtype=torch.uint8))
    finally:
        for handle in handles:
            handle.remove()
    return called
