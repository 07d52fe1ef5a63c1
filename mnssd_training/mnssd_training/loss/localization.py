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
    """Sum the ``l1`` or ``smooth_l1`` loss of ``(N, 4)`` offsets, linear beyond beta."""
    if name == 'l1':
        return functional.l1_loss(offsets, target, reduction='sum')
    return functional.smooth_l1_loss(offsets, target, reduction='sum', beta=beta)


def iou_loss(
    offsets: torch.Tensor,
    target: torch.Tensor,
    priors: torch.Tensor,
    variances: tuple[float, float],
    name: str,
) -> torch.Tensor:
    """
    Sum the ``giou``, ``diou`` or ``ciou`` loss of decoded boxes.

    :param offsets: ``(N, 4)`` float32, predicted; so are the targets.
    :param priors: ``(N, 4)`` float32 cxcywh, pixels of the network input.
    """
    # A box that is 1000 prior sizes away, or 1000 times smaller or larger than its prior, has
    # diverged; beyond that areas overflow and sides vanish.
    max_shift, max_growth = math.exp(MAX_LOG_RATIO) / variances[0], MAX_LOG_RATIO / variances[1]
    limit = offsets.new_tensor((max_shift, max_shift, max_growth, max_growth))
    boxes = decode_boxes(offsets.clamp(-limit, limit), priors, variances)
    return IOU_LOSSES[name](boxes, decode_boxes(target, priors, variances), reduction='sum')


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
