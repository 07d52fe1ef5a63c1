"""
Ground-truth boxes to training targets: which prior answers for which object.

A prior is positive if it overlaps an object enough, or if it is the best prior of an object (the
bipartite step of SSD, Liu et al., ECCV 2016, section 2.2); priors between the two thresholds, and
priors inside ignore regions, are left out of the loss.
"""

from dataclasses import dataclass

from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd.boxes import box_area, cxcywh_to_xyxy
from mnssd_perception.ssd.coding import encode_boxes
from mnssd_perception.ssd.nearby import BLOCK, Nearby, nearby, strongest
import numpy as np
from numpy.typing import NDArray

BACKGROUND = 0
IGNORED = -1


@dataclass(frozen=True)
class MatchingConfig:
    """
    The thresholds of matching.

    :ivar positive_iou: from this IoU on a prior answers for its best object.
    :ivar negative_iou: below this IoU a prior is background; between the two it is left out.
    :ivar ignore_overlap: a prior with this part of its area in an ignore region is left out,
        unless it answers for an object.
    """

    positive_iou: float = 0.5
    negative_iou: float = 0.4
    ignore_overlap: float = 0.5

    def __post_init__(self) -> None:
        """Refuse thresholds that no overlap can pass, or that call a prior both."""
        for name in ('positive_iou', 'negative_iou', 'ignore_overlap'):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f'{name}: expected 0 to 1, got {getattr(self, name)}')
        if self.negative_iou > self.positive_iou:
            raise SettingsError(
                f'negative_iou: expected at most positive_iou {self.positive_iou}, '
                f'got {self.negative_iou}'
            )


@dataclass(frozen=True)
class Targets:
    """
    What the loss compares the heads with.

    :ivar classes: ``(P,)`` int64; 0 background, 1 + label for an object, -1 left out.
    :ivar offsets: ``(P, 4)`` float32; zero where there is no object.
    """

    classes: NDArray[np.int64]
    offsets: NDArray[np.float32]


def match_priors(
    priors_xyxy: NDArray[np.floating],
    boxes: NDArray[np.floating],
    ignore: NDArray[np.floating],
    matching: MatchingConfig,
) -> NDArray[np.int64]:
    """
    Find the object of each prior.

    Every object gets at least one prior as long as a free one overlaps it: objects choose in the
    order of their best IoU, and what one has chosen so is taken.

    :param priors_xyxy: ``(P, 4)`` xyxy.
    :param boxes: ``(N, 4)`` xyxy, unit of the priors.
    :param ignore: ``(M, 4)`` xyxy ignore regions.
    :param matching: the thresholds.
    :return: ``(P,)`` int64; index of the object, -1 for background, -2 for left out.
    """
    found = np.full(len(priors_xyxy), -1, np.int64)
    if len(ignore):
        pairs = nearby(priors_xyxy, ignore)
        inside, _ = strongest(pairs, _ratio(pairs.shared, pairs.area))
        found[inside >= matching.ignore_overlap] = -2
    if not len(boxes):
        return found
    pairs = nearby(priors_xyxy, boxes)
    union = pairs.area + box_area(boxes)[pairs.box, None] - pairs.shared
    ious = _ratio(pairs.shared, union)
    best_iou, best = strongest(pairs, ious)
    found[best_iou >= matching.negative_iou] = -2
    positive = best_iou >= matching.positive_iou
    found[positive] = best[positive]
    _force_best(found, pairs, ious, len(boxes))
    return found


def _ratio(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.floating]:
    """Divide areas; 0 of nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _force_best(
    found: NDArray[np.int64], pairs: Nearby, ious: NDArray[np.floating], num_boxes: int
) -> None:
    """Give each object its best free prior, highest IoU first, in place."""
    rows = np.argsort(pairs.box, kind='stable')
    ends = np.searchsorted(pairs.box[rows], np.arange(num_boxes + 1))
    top = np.zeros(num_boxes, ious.dtype)
    np.maximum.at(top, pairs.box, ious.max(axis=1))
    taken: set[int] = set()
    for index in np.argsort(-top, kind='stable'):
        if top[index] <= 0:
            break  # the rest overlaps nothing
        own = rows[ends[index] : ends[index + 1]]
        priors = (pairs.block[own, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        column = ious[own].reshape(-1)
        at = int(column.argmax())
        if priors[at] in taken:
            column[np.isin(priors, list(taken))] = -1.0
            at = int(column.argmax())
        if column[at] > 0:
            found[priors[at]] = index
            taken.add(int(priors[at]))


def encode_targets(
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    ignore: NDArray[np.floating],
    priors: NDArray[np.float32],
    variances: tuple[float, float],
    matching: MatchingConfig,
) -> Targets:
    """
    Turn the ground truth of one image into training targets.

    :param boxes: ``(N, 4)`` xyxy, fractions of the network input, sides greater than 0.
    :param labels: ``(N,)`` from 0.
    :param ignore: ``(M, 4)`` xyxy ignore regions, fractions of the network input.
    :param priors: ``(P, 4)`` cxcywh from :func:`mnssd_perception.ssd.generate_priors`.
    :param variances: (centre, size).
    :param matching: the thresholds.
    :return: the targets of the P priors.
    """
    found = match_priors(cxcywh_to_xyxy(priors), boxes, ignore, matching)
    classes = np.where(found == -2, IGNORED, BACKGROUND).astype(np.int64)
    offsets = np.zeros((len(priors), 4), np.float32)
    positive = np.flatnonzero(found >= 0)
    classes[positive] = np.asarray(labels, np.int64)[found[positive]] + 1
    offsets[positive] = encode_boxes(boxes[found[positive]], priors[positive], variances)
    return Targets(classes, offsets)
