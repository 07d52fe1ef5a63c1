"""
Recover trainable weights from an exported ONNX network.

The exporter fuses a batch norm into the convolution before it. Layers are found by their order,
which the exporter keeps: it merges and renames tensors, so their names tell less. A fused batch
norm becomes one that only adds the bias, which is the same function in evaluation. In training it
would normalise by the statistics of the batch and lose what the convolution has learnt, so
:func:`unfold_batch_norms` then rewrites each batch norm as the same function with the statistics
of real images.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from mnssd_perception.text import sanitize_text
from mnssd_training.errors import CheckpointError
from mnssd_training.model.mobilenet_ssd import MobileNetSsd
from mnssd_training.model.norm import batch_norms, measure_inputs
import torch
from torch import nn

PREFIX = 'model.'  # of the network in the exported module


def recover_weights(model: MobileNetSsd, network: bytes) -> dict[str, torch.Tensor]:
    """
    Recover a state dict with which a model computes what an ONNX file does, in evaluation.

    :param model: a network of the same specification and configuration; not changed.
    :param network: the ONNX file, checked by an engine before: external tensors would be read.
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
    except Exception as error:  # Protocol Buffers, onnx and PyTorch raise errors of their own
        reason = sanitize_text(error)
        raise CheckpointError(f'expected an ONNX network with whole tensors: {reason}') from error
    nodes = [node for node in graph.node if node.op_type in ('Conv', 'BatchNormalization')]
    current = model.state_dict()
    state = {key: tensors.get(f'{PREFIX}{key}', value) for key, value in current.items()}
    try:
        state |= _pair_by_order(model, iter([*nodes, None]), tensors)
    except (IndexError, KeyError) as error:
        raise CheckpointError(f'its network lacks a layer of this one: {error}') from error
    for key, value in current.items():
        if state[key].shape != value.shape:
            raise CheckpointError(
                f'{key}: expected the shape {tuple(value.shape)}, got {tuple(state[key].shape)}'
            )
    return state


def unfold_batch_norms(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """
    Give each batch norm of a model in evaluation mode the statistics of its inputs, in place.

    Its weights change with them, so that the network computes the same in evaluation. In training,
    where the statistics of a batch take their place, it then computes nearly the same.
    """
    with torch.no_grad():
        for norm, (mean, variance) in measure_inputs(model, batch_norms(model), batches).items():
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            norm.bias += scale * (mean - norm.running_mean.double())
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


def _pair_by_order(
    model: MobileNetSsd, nodes: Iterator[Any], tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Pair layers with nodes of the graph, both in the order of execution."""
    state = {}
    node, bias = next(nodes), torch.zeros(0)
    for name, layer in _layers_in_call_order(model):
        if isinstance(layer, nn.Conv2d):
            if node is None or node.op_type != 'Conv':
                raise KeyError(name)
            weight, *biases = (tensors[key] for key in node.input[1:])
            bias = biases[0] if biases else torch.zeros(len(weight))
            state[f'{name}.weight'] = weight
            if layer.bias is not None:
                state[f'{name}.bias'], bias = bias, torch.zeros(len(weight))
        elif node is not None and node.op_type == 'BatchNormalization':
            keys = ('weight', 'bias', 'running_mean', 'running_var')
            state |= {f'{name}.{key}': tensors[value] for key, value in zip(keys, node.input[1:])}
        else:  # fused into the convolution
            ones = torch.ones(len(bias))
            state[f'{name}.weight'], state[f'{name}.bias'] = ones, bias
            state[f'{name}.running_mean'] = torch.zeros(len(bias))
            state[f'{name}.running_var'] = ones - layer.eps
            continue
        node = next(nodes)
    if node is not None:
        raise KeyError(f'node {node.name}')
    return state


def _layers_in_call_order(model: MobileNetSsd) -> list[tuple[str, Any]]:
    """List convolutions and batch norms with their names, as they are called."""
    types = nn.Conv2d | nn.BatchNorm2d
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, types)}
    calls: list[nn.Module] = []
    with ExitStack() as stack:
        for layer in names:
            hook = layer.register_forward_hook(lambda layer, *_: calls.append(layer))
            stack.callback(hook.remove)
        with torch.inference_mode():
            model(torch.zeros((1, *model.spec.input_size, 3), dtype=torch.uint8))
    return [(names[layer], layer) for layer in calls]
