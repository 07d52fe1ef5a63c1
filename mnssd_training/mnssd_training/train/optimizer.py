"""A network to its optimizer: which weights move how fast, and which decay."""

from collections.abc import Iterable
from typing import Any

from mnssd_training.config import Experiment, OptimizerConfig
from mnssd_training.model import MobileNetSsd
import torch
from torch import nn


def make_optimizer(model: MobileNetSsd, experiment: Experiment) -> torch.optim.Optimizer:
    """
    Make the optimizer of an experiment.

    :param model: the network.
    :param experiment: with ``optimizer`` and ``initial``.
    :return: each of its groups has ``factor``, its rate beside the learning rate of the run.
    """
    config = experiment.optimizer
    groups = parameter_groups(model, config, pretrained=is_pretrained(experiment))
    if config.name == 'sgd':
        return torch.optim.SGD(
            groups, config.learning_rate, config.momentum, nesterov=config.nesterov
        )
    return torch.optim.AdamW(groups, config.learning_rate, config.betas)


def is_pretrained(experiment: Experiment) -> bool:
    """Tell whether the backbone begins with trained weights."""
    return bool(experiment.initial.backbone_weights or experiment.initial.checkpoint)


def parameter_groups(
    model: MobileNetSsd, config: OptimizerConfig, *, pretrained: bool
) -> list[dict[str, Any]]:
    """
    Group weights by learning rate and decay: norms and biases do not decay.

    :param model: the network.
    :param config: the rates.
    :param pretrained: the backbone begins with trained weights, and so moves less.
    :return: groups in the order of the network; frozen weights are in none.
    """
    factors = _backbone_factors(model, config, config.backbone_lr_factor if pretrained else 1.0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factors.get(parameter, 1.0), decay), []).append(parameter)
    return [
        {'params': parameters, 'weight_decay': decay, 'factor': factor}
        for (factor, decay), parameters in groups.items()
    ]


def _backbone_factors(
    model: MobileNetSsd, config: OptimizerConfig, last: float
) -> dict[nn.Parameter, float]:
    """Tell the factor of each weight of the backbone, smaller from block to earlier block."""
    factors = dict.fromkeys(model.backbone.parameters(), last)
    for age, block in enumerate(reversed(model.backbone.blocks())):
        factors |= dict.fromkeys(block.parameters(), last * config.layer_decay**age)
    return factors


def set_rate(groups: Iterable[dict[str, Any]], rate: float) -> None:
    """
    Set the learning rate of a step.

    :param groups: of the optimizer.
    :param rate: of a group whose factor is 1.
    """
    for group in groups:
        group['lr'] = rate * group['factor']
