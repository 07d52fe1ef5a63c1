"""
Logits and target classes to a loss: softmax with hard negatives, or sigmoid focal.

Goal classes are those of :mod:`mnssd_perception.ssd.matching`: 0 background, 1 + label for an
object, -1 left out. What is left out counts nowhere, whatever its logits are.
"""

from mnssd_perception.ssd.matching import BACKGROUND
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss


def softmax_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    negatives: float,
    min_negatives: int,
    smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the cross-entropy of positives and of the hardest negatives of each image.

    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.

    :param logits: ``(B, P, C + 1)`` float32.
    :param target: ``(B, P)`` target classes.
    :param negatives: hard negatives for each positive of an image.
    :param min_negatives: fewest hard negatives of an image.
    :param smoothing: part of the target that is spread evenly over all C + 1 columns.
    :param weights: ``(C + 1,)`` factor of the priors of each target class; None for 1.
    :return: scalar.
    """
    index = target.clamp(min=BACKGROUND)
    entropy = functional.cross_entropy(logits.transpose(1, 2), index, reduction='none')  # (B, P)
    # Chosen by how unlikely background is, without smoothing: a smoothed entropy also calls those
    # hard that are background without a doubt.
    hard = _hard_negatives(entropy.detach(), target, negatives, min_negatives)
    if smoothing:
        even = -functional.log_softmax(logits, dim=2).mean(dim=2)
        entropy = (1 - smoothing) * entropy + smoothing * even
    if weights is not None:
        entropy = entropy * weights[index]
    return (entropy * ((target > BACKGROUND) | hard)).sum()


def focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    alpha: float,
    gamma: float,
    smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the focal loss of each class beside background, as independent sigmoids.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017. The sigmoid of
    ``logit_c - logit_background`` is the softmax of the two, so that a network trained like this
    is scored as any other.

    :param logits: ``(B, P, C + 1)`` float32.
    :param target: ``(B, P)`` target classes.
    :param alpha: weight of positives; negatives have 1 - alpha.
    :param gamma: how much easy priors count less.
    :param smoothing: part of the target that is spread evenly over all C + 1 columns.
    :param weights: ``(C + 1,)`` factor of the priors of each target class; None for 1.
    :return: scalar.
    """
    counted = target >= BACKGROUND
    logits, target = logits[counted], target[counted]  # (N, C + 1), (N,)
    one_hot = functional.one_hot(target, logits.shape[1])[:, 1:].to(logits.dtype)
    smoothed = (1 - smoothing) * one_hot + smoothing / logits.shape[1]
    loss = sigmoid_focal_loss(logits[:, 1:] - logits[:, :1], smoothed, alpha, gamma)  # (N, C)
    if weights is not None:
        loss = loss * weights[target, None]
    return loss.sum()


def _hard_negatives(
    entropy: torch.Tensor, target: torch.Tensor, negatives: float, min_negatives: int
) -> torch.Tensor:
    """Choose the background priors of each image that are hardest, ``(B, P)`` bool."""
    negative = target == BACKGROUND
    wanted = ((target > BACKGROUND).sum(dim=1) * negatives).clamp(min=min_negatives)
    wanted = wanted.minimum(negative.sum(dim=1)).long()
    hardness = torch.where(negative, entropy, -torch.inf)
    order = hardness.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return negative & (rank < wanted[:, None])
