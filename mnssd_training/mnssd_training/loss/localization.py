"""Offsets of positive priors to a loss: of the offsets themselves, or of the decoded boxes."""

import math

from mnssd_perception.ssd.box_coder import MAX_LOG_RATIO
import torch
from torch.nn import functional
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)


def offset_loss(
    offsets: torch.Tensor, target: torch.Tensor, kind: str, beta: float = 1.0
) -> torch.Tensor:
    """
    Sum the distance of offsets.

    :param offsets: ``(N, 4)`` float32, predicted.
    :param goal: ``(N, 4)`` float32.
    :param kind: ``smooth_l1`` or ``l1``.
    :param beta: where smooth L1 turns from square to straight.
    :return: scalar.
    """
    if kind == 'l1':
        return functional.l1_loss(offsets, target, reduction='sum')
    return functional.smooth_l1_loss(offsets, target, reduction='sum', beta=beta)


def box_loss(
    offsets: torch.Tensor,
    target: torch.Tensor,
    priors: torch.Tensor,
    variances: tuple[float, float],
    kind: str,
) -> torch.Tensor:
    """
    Sum how badly decoded boxes overlap.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019; Zheng et al.,
    Distance-IoU Loss, AAAI 2020.

    :param offsets: ``(N, 4)`` float32, predicted.
    :param goal: ``(N, 4)`` float32.
    :param priors: ``(N, 4)`` float32 cxcywh, pixels of the network input.
    :param variances: (centre, size).
    :param kind: ``giou``, ``diou`` or ``ciou``.
    :return: scalar.
    """
    loss = {
        'giou': generalized_box_iou_loss,
        'diou': distance_box_iou_loss,
        'ciou': complete_box_iou_loss,
    }[kind]
    # A box that is 1000 prior sizes away, or 1000 times smaller or larger than its prior, has
    # diverged; beyond that areas overflow and sides vanish.
    far, big = math.exp(MAX_LOG_RATIO) / variances[0], MAX_LOG_RATIO / variances[1]
    limit = offsets.new_tensor((far, far, big, big))
    bounded = offsets.clamp(-limit, limit)
    boxes, goal_boxes = (decode_boxes(x, priors, variances) for x in (bounded, target))
    return loss(boxes, goal_boxes, reduction='sum')


def decode_boxes(
    offsets: torch.Tensor, priors: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """
    Turn offsets into boxes, as :func:`mnssd_perception.ssd.decode_boxes` does, with a gradient.

    :param offsets: ``(N, 4)`` float32.
    :param priors: ``(N, 4)`` float32 cxcywh.
    :param variances: (centre, size).
    :return: ``(N, 4)`` float32 xyxy, unit of the priors.
    """
    centre = priors[:, :2] + offsets[:, :2] * variances[0] * priors[:, 2:]
    size = priors[:, 2:] * (offsets[:, 2:] * variances[1]).clamp(max=MAX_LOG_RATIO).exp()
    return torch.cat((centre - size / 2, centre + size / 2), dim=1)
