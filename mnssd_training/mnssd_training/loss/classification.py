"""
Classification losses: softmax with hard negative mining, and sigmoid losses over all priors.

The sigmoid of ``logit_c - logit_background`` is the softmax of the two, so that detections of a
network trained with a sigmoid loss are scored like those of any other (ADR 0008).

Target classes are those of :mod:`mnssd_perception.ssd.matching`: 0 background, 1 + label for an
object, -1 ignored. Ignored priors contribute nothing, whatever their logits are.
"""

from mnssd_perception.ssd.matching import BACKGROUND
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss


def softmax_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    neg_pos_ratio: float,
    min_negatives: int,
    label_smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the cross-entropy of positives and of the hardest negatives of each image.

    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.

    :param logits: ``(B, P, C + 1)`` float32.
    :param target: ``(B, P)`` target classes.
    :param weights: ``(C + 1,)`` factor of the priors of each target class.
    """
    index = target.clamp(min=BACKGROUND)
    entropy = functional.cross_entropy(logits.transpose(1, 2), index, reduction='none')  # (B, P)
    # Mined without label smoothing: a smoothed entropy also ranks priors as hard that are
    # background without a doubt.
    negative = target == BACKGROUND
    num = ((target > BACKGROUND).sum(dim=1) * neg_pos_ratio).clamp(min=min_negatives)
    num = num.minimum(negative.sum(dim=1)).long()
    hardness = torch.where(negative, entropy.detach(), -torch.inf)
    order = hardness.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    hard = negative & (rank < num[:, None])  # (B, P)
    if label_smoothing:
        uniform = -functional.log_softmax(logits, dim=2).mean(dim=2)
        entropy = (1 - label_smoothing) * entropy + label_smoothing * uniform
    if weights is not None:
        entropy = entropy * weights[index]
    return (entropy * ((target > BACKGROUND) | hard)).sum()


def focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the focal loss of each class against background, as independent sigmoids.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.

    :param logits: ``(B, P, C + 1)`` float32.
    :param target: ``(B, P)`` target classes.
    :param alpha: weight of positives; negatives have 1 - alpha.
    :param weights: ``(C + 1,)`` factor of the priors of each target class.
    """
    scores, one_hot, target = _one_against_background(logits, target)
    smoothed = (1 - label_smoothing) * one_hot + label_smoothing / logits.shape[2]
    loss = sigmoid_focal_loss(scores, smoothed, alpha, gamma)  # (N, C)
    return _weighted_sum(loss, target, weights)


def quality_focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    quality: torch.Tensor,
    *,
    gamma: float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the quality focal loss, whose target for the class of a positive is its quality.

    Li et al., Generalized Focal Loss, NeurIPS 2020, equation 2; gamma is their beta, and 0 gives
    binary cross-entropy.

    :param logits: ``(B, P, C + 1)`` float32.
    :param target: ``(B, P)`` target classes.
    :param quality: ``(B, P)`` float32, 0 to 1, of positives: the IoU of box and object.
    :param weights: ``(C + 1,)`` factor of the priors of each target class.
    """
    scores, one_hot, counted = _one_against_background(logits, target)
    soft = one_hot * quality[target >= BACKGROUND, None]
    loss = functional.binary_cross_entropy_with_logits(scores, soft, reduction='none')
    return _weighted_sum(loss * (soft - scores.sigmoid()).abs() ** gamma, counted, weights)


def varifocal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    quality: torch.Tensor,
    *,
    alpha: float,
    gamma: float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Sum the varifocal loss: cross-entropy with quality, weighted by it; negatives are focused.

    Zhang et al., VarifocalNet, CVPR 2021, equation 2. Parameters are those of
    :func:`quality_focal_loss` and of :func:`focal_loss`: negatives have the weight 1 - alpha,
    which the paper calls alpha.
    """
    scores, one_hot, counted = _one_against_background(logits, target)
    soft = one_hot * quality[target >= BACKGROUND, None]
    loss = functional.binary_cross_entropy_with_logits(scores, soft, reduction='none')
    factor = torch.where(soft > 0, soft, (1 - alpha) * scores.sigmoid() ** gamma)
    return _weighted_sum(loss * factor, counted, weights)


def _one_against_background(
    logits: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return sigmoid logits and one-hot targets ``(N, C)``, and ``(N,)`` of counted priors."""
    is_counted = target >= BACKGROUND
    logits, target = logits[is_counted], target[is_counted]  # (N, C + 1), (N,)
    one_hot = functional.one_hot(target, logits.shape[1])[:, 1:].to(logits.dtype)
    return logits[:, 1:] - logits[:, :1], one_hot, target


def _weighted_sum(
    loss: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    return (loss if weights is None else loss * weights[target, None]).sum()
