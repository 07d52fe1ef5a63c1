"""Localization losses of positive priors: on the offsets, or on the decoded boxes."""

import math

from mnssd_perception.ssd.box_coder import MAX_LOG_RATIO
import torch
from torch.nn import functional
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

# Rezatofighi et al., Generalized Intersection over Union, CVPR 2019; Zheng et al., Distance-IoU
# Loss, AAAI 2020.
IOU_LOSSES = {
    'giou': generalized_box_iou_loss,
    'diou': distance_box_iou_loss,
    'ciou': complete_box_iou_loss,
}


def offset_loss(
    offsets: torch.Tensor, target: torch.Tensor, name: str, beta: float = 1.0
) -> torch.Tensor:
    """Compute the ``l1`` or ``smooth_l1`` loss of ``(N, 4)`` offsets, ``(N,)``."""
    if name == 'l1':
        return functional.l1_loss(offsets, target, reduction='none').sum(dim=1)
    return functional.smooth_l1_loss(offsets, target, reduction='none', beta=beta).sum(dim=1)


def iou_loss(
    offsets: torch.Tensor,
    target: torch.Tensor,
    priors: torch.Tensor,
    variances: tuple[float, float],
    name: str,
) -> torch.Tensor:
    """
    Compute the ``giou``, ``diou`` or ``ciou`` loss of decoded boxes, ``(N,)``.

    :param offsets: ``(N, 4)`` float32, predicted; so are the targets.
    :param priors: ``(N, 4)`` float32 cxcywh, pixels of the network input.
    """
    boxes = decode_bounded(offsets, priors, variances)
    return IOU_LOSSES[name](boxes, decode_boxes(target, priors, variances), reduction='none')


def decoded_iou(
    offsets: torch.Tensor,
    target: torch.Tensor,
    priors: torch.Tensor,
    variances: tuple[float, float],
) -> torch.Tensor:
    """Compute the IoU ``(N,)`` of decoded boxes; parameters are those of :func:`iou_loss`."""
    boxes = decode_bounded(offsets, priors, variances)
    return paired_iou(boxes, decode_boxes(target, priors, variances))


def paired_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Compute the IoU of each pair of ``(..., 4)`` xyxy boxes, ``(...)``; 0 of no area."""
    low = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    high = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area1, area2 = ((b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1) for b in (boxes1, boxes2))
    return shared / (area1 + area2 - shared).clamp(min=torch.finfo(shared.dtype).tiny)


def decode_bounded(
    offsets: torch.Tensor, priors: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """Decode offsets as :func:`decode_boxes` does, to boxes whose overlaps are finite."""
    # A box that is 1000 prior sizes away, or 1000 times smaller or larger than its prior, has
    # diverged; beyond that areas overflow and sides vanish.
    max_shift, max_growth = math.exp(MAX_LOG_RATIO) / variances[0], MAX_LOG_RATIO / variances[1]
    limit = offsets.new_tensor((max_shift, max_shift, max_growth, max_growth))
    return decode_boxes(offsets.clamp(-limit, limit), priors, variances)


def decode_boxes(
    offsets: torch.Tensor, priors: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """
    Decode ``(..., P, 4)`` offsets as :func:`mnssd_perception.ssd.decode_boxes` does.

    It has a gradient and can be exported.
    """
    centre = priors[..., :2] + offsets[..., :2] * variances[0] * priors[..., 2:]
    size = priors[..., 2:] * (offsets[..., 2:] * variances[1]).clamp(max=MAX_LOG_RATIO).exp()
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def encode_boxes(
    boxes: torch.Tensor, priors: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """Encode ``(N, 4)`` boxes as :func:`mnssd_perception.ssd.encode_boxes` does, on any device."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - priors[:, :2]
    size = (boxes[:, 2:] - boxes[:, :2]) / priors[:, 2:]
    return torch.cat((centre / priors[:, 2:] / variances[0], size.log() / variances[1]), dim=1)
