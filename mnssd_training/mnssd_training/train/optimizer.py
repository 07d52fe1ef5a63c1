"""Build the optimizer: parameter groups with their own learning rate and weight decay."""

from collections.abc import Iterable
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.model import MobileNetSsd
import torch
from torch import nn


def make_optimizer(
    model: MobileNetSsd, experiment: Experiment, others: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """
    Build the optimizer; each group has ``factor``, its learning rate relative to that of the run.

    Norms and biases do not decay. A pretrained backbone learns more slowly, its early blocks most
    slowly. Frozen parameters are in no group.

    :param others: parameters that are trained, but are no part of the network.
    """
    config = experiment.optimizer
    is_pretrained = experiment.initial.backbone_weights or experiment.initial.checkpoint
    backbone_factor = config.backbone_lr_factor if is_pretrained else 1.0
    factors = dict.fromkeys(model.backbone.parameters(), backbone_factor)
    for depth, block in enumerate(reversed(model.backbone.blocks())):
        factors |= dict.fromkeys(block.parameters(), backbone_factor * config.layer_decay**depth)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in (*model.parameters(), *others):
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factors.get(parameter, 1.0), decay), []).append(parameter)
    param_groups: list[dict[str, Any]] = [
        {'params': parameters, 'weight_decay': decay, 'factor': factor}
        for (factor, decay), parameters in groups.items()
    ]
    if config.name == 'sgd':
        return torch.optim.SGD(
            param_groups, config.learning_rate, config.momentum, nesterov=config.nesterov
        )
    return torch.optim.AdamW(param_groups, config.learning_rate, config.betas)


def set_learning_rate(param_groups: Iterable[dict[str, Any]], learning_rate: float) -> None:
    """Set the learning rate of a step, scaled by the ``factor`` of each group."""
    for group in param_groups:
        group['lr'] = learning_rate * group['factor']
