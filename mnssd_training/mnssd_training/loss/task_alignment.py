"""
Assign priors to the objects that they predict best (task-aligned assignment, TAL).

Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, section 3.2. The candidates
of an object are few, from the workers of the loader, so that memory grows with objects and not
with objects times priors. Images are independent of each other, so that the result does not
depend on how a batch is divided over processes.
"""

from dataclasses import dataclass

from mnssd_training.config.sections import AssignmentConfig
from mnssd_training.loss.localization import decode_bounded, encode_boxes, paired_iou
import torch


@dataclass(frozen=True)
class TargetTensors:
    """
    What the loss compares heads with.

    :ivar classes: ``(B, P)`` int64; 0 background, 1 + label for an object, -1 ignored.
    :ivar offsets: ``(B, P, 4)`` float32; zero where there is no object.
    :ivar quality: ``(B, P)`` float32, 0 to 1, of positives; None for the IoU of box and object.
    """

    classes: torch.Tensor
    offsets: torch.Tensor
    quality: torch.Tensor | None = None


@torch.no_grad()
def align_tasks(
    logits: torch.Tensor,
    offsets: torch.Tensor,
    targets: TargetTensors,
    boxes: torch.Tensor,
    labels: torch.Tensor,
    candidates: torch.Tensor,
    priors: torch.Tensor,
    variances: tuple[float, float],
    matching: AssignmentConfig,
) -> TargetTensors:
    """
    Assign each object the ``tal_topk`` candidates of best alignment, score^alpha * IoU^beta.

    A prior of several objects goes to the one with the highest IoU. Its quality is its alignment,
    scaled so that the best prior of an object has the highest IoU of its priors.

    :param logits: ``(B, P, C + 1)``.
    :param offsets: ``(B, P, 4)``.
    :param targets: without objects: background and ignored priors.
    :param boxes: ``(B, N, 4)`` float32 xyxy, fractions of the network input.
    :param labels: ``(B, N)`` int64 from 0; -1 for no object.
    :param candidates: ``(B, N, K)`` int64 indices of priors; -1 for none.
    :param priors: ``(P, 4)`` float32 cxcywh, fractions of the network input.
    """
    num_objects, shape = boxes.shape[1], candidates.shape
    quality = torch.zeros_like(targets.classes, dtype=torch.float32)
    if not num_objects:
        return TargetTensors(targets.classes, targets.offsets, quality)
    with torch.autocast(logits.device.type, enabled=False):
        is_valid, prior = candidates >= 0, candidates.clamp(min=0)
        image = torch.arange(shape[0], device=prior.device)[:, None, None]
        label = labels.clamp(min=0)[:, :, None] + 1
        margin = logits[image, prior, label].float() - logits[image, prior, 0].float()
        decoded = decode_bounded(offsets[image, prior].float(), priors[prior], variances)
        ious = paired_iou(decoded, boxes[:, :, None])  # (B, N, K)
        alignment = margin.sigmoid() ** matching.tal_alpha * ious**matching.tal_beta * is_valid
        # A stable sort: the same choice among equals, however a batch is divided.
        order = alignment.argsort(dim=2, descending=True, stable=True)[..., : matching.tal_topk]
        is_chosen = torch.zeros_like(is_valid).scatter(2, order, True) & (alignment > 0)

        flat = prior.flatten(1)  # (B, N * K)
        chosen_ious = torch.where(is_chosen, ious, 0)
        best = quality.scatter_reduce(1, flat, chosen_ious.flatten(1), 'amax')
        is_best = is_chosen & (ious == best.gather(1, flat).view(shape))
        index = torch.arange(num_objects, device=prior.device)[:, None].expand(shape)
        claims = torch.where(is_best, index, num_objects).flatten(1)
        owner = torch.full_like(targets.classes, num_objects)
        owner = owner.scatter_reduce(1, flat, claims, 'amin')  # (B, P)
        is_owned = is_best & (owner.gather(1, flat).view(shape) == index)

        best_alignment = torch.where(is_owned, alignment, 0).amax(dim=2, keepdim=True)
        best_iou = torch.where(is_owned, ious, 0).amax(dim=2, keepdim=True)
        scale = best_iou / best_alignment.clamp(min=torch.finfo(torch.float32).tiny)
        scaled = torch.where(is_owned, alignment * scale, 0).flatten(1)
        quality = quality.scatter_reduce(1, flat, scaled, 'amax')

        classes, encoded = targets.classes.clone(), torch.zeros_like(targets.offsets)
        rows, columns = (owner < num_objects).nonzero(as_tuple=True)
        owners = owner[rows, columns]
        classes[rows, columns] = labels[rows, owners] + 1
        encoded[rows, columns] = encode_boxes(boxes[rows, owners], priors[columns], variances)
    return TargetTensors(classes, encoded, quality)
