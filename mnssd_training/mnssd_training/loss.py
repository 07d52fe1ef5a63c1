"""
Raw heads and targets to a loss: softmax with hard negatives, and smooth L1.

Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.
"""

from dataclasses import dataclass

from mnssd_training.errors import ConfigError
import torch
from torch.nn import functional

__all__ = ['Losses', 'LossConfig', 'multibox_loss']


@dataclass(frozen=True)
class LossConfig:
    """
    The weights of the loss.

    :ivar negatives: hard negatives for each positive of an image.
    :ivar min_negatives: fewest hard negatives of an image, also of one without positives.
    :ivar box_weight: of the box loss beside the class loss.
    :ivar beta: where smooth L1 turns from square to straight, in units of the offsets.
    """

    negatives: float = 3.0
    min_negatives: int = 16
    box_weight: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse negative weights."""
        for name in ('negatives', 'min_negatives', 'box_weight', 'beta'):
            if not getattr(self, name) >= 0:
                raise ConfigError(f'loss.{name}: expected at least 0, got {getattr(self, name)}')


@dataclass(frozen=True)
class Losses:
    """
    The parts of a loss.

    :ivar classes: softmax cross-entropy of positives and hard negatives, for each positive.
    :ivar boxes: smooth L1 of the positives, for each positive.
    :ivar total: what is minimised.
    """

    classes: torch.Tensor
    boxes: torch.Tensor
    total: torch.Tensor


def multibox_loss(
    logits: torch.Tensor,
    offsets: torch.Tensor,
    goal_classes: torch.Tensor,
    goal_offsets: torch.Tensor,
    config: LossConfig,
) -> Losses:
    """
    Compare heads with targets, in float32.

    :param logits: ``(B, P, C + 1)``.
    :param offsets: ``(B, P, 4)``.
    :param goal_classes: ``(B, P)``; 0 background, -1 left out.
    :param goal_offsets: ``(B, P, 4)``.
    :param config: the weights.
    :return: scalars.
    """
    positive = goal_classes > 0
    entropy = functional.cross_entropy(
        logits.float().transpose(1, 2), goal_classes.clamp(min=0), reduction='none'
    )  # (B, P)
    hard = _hard_negatives(entropy.detach(), goal_classes, config)
    num = positive.sum().clamp(min=1)
    classes = (entropy * (positive | hard)).sum() / num
    boxes = functional.smooth_l1_loss(
        offsets[positive].float(), goal_offsets[positive], reduction='sum', beta=config.beta
    )
    boxes = boxes / num
    return Losses(classes, boxes, classes + config.box_weight * boxes)


def _hard_negatives(
    entropy: torch.Tensor, goal_classes: torch.Tensor, config: LossConfig
) -> torch.Tensor:
    """Choose the background priors of each image that are hardest, ``(B, P)`` bool."""
    negative = goal_classes == 0
    wanted = ((goal_classes > 0).sum(dim=1) * config.negatives).clamp(min=config.min_negatives)
    wanted = wanted.minimum(negative.sum(dim=1)).long()
    hardness = torch.where(negative, entropy, -torch.inf)
    order = hardness.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return negative & (rank < wanted[:, None])
