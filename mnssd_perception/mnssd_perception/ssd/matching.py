"""
Match priors to ground-truth boxes and encode the training targets.

A prior is positive if it overlaps an object enough, or if it is the best prior of an object (the
bipartite step of SSD, Liu et al., ECCV 2016, section 2.2); priors between the two thresholds, and
priors inside ignore regions, are left out of the loss.
"""

from dataclasses import dataclass

from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd.blockwise_iou import (
    BLOCK_SIZE,
    blockwise_ioa,
    blockwise_iou,
    BlockwiseOverlaps,
)
from mnssd_perception.ssd.box_coder import encode_boxes
from mnssd_perception.ssd.boxes import cxcywh_to_xyxy
import numpy as np
from numpy.typing import NDArray

# Target classes.
BACKGROUND = 0
IGNORED = -1

# Matches that are no index of an object, as in torchvision's Matcher.
BELOW_THRESHOLD = -1
BETWEEN_THRESHOLDS = -2


@dataclass(frozen=True)
class MatchingConfig:
    """
    The thresholds of matching, each 0 to 1.

    :ivar positive_iou: from this IoU on a prior answers for its best object.
    :ivar negative_iou: below this IoU a prior is background; between the two it is left out.
    :ivar ignore_overlap: a prior with this part of its area in an ignore region is left out,
        unless it answers for an object.
    """

    positive_iou: float = 0.5
    negative_iou: float = 0.4
    ignore_overlap: float = 0.5

    def __post_init__(self) -> None:
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
    Match each prior to an object.

    Every object gets at least one prior as long as a free one overlaps it: objects choose in the
    order of their best IoU, and what one has chosen so is taken.

    :param priors_xyxy: ``(P, 4)`` xyxy.
    :param boxes: ``(N, 4)`` xyxy, unit of the priors.
    :param ignore: ``(M, 4)`` xyxy ignore regions.
    :return: ``(P,)`` int64; index of the object, -1 for background, -2 for left out.
    """
    matches = np.full(len(priors_xyxy), BELOW_THRESHOLD, np.int64)
    if len(ignore):
        inside, _ = blockwise_ioa(priors_xyxy, ignore).best_boxes()
        matches[inside >= matching.ignore_overlap] = BETWEEN_THRESHOLDS
    if not len(boxes):
        return matches
    ious = blockwise_iou(priors_xyxy, boxes)
    best_iou, best_box = ious.best_boxes()
    matches[best_iou >= matching.negative_iou] = BETWEEN_THRESHOLDS
    positive = best_iou >= matching.positive_iou
    matches[positive] = best_box[positive]
    _match_best_priors(matches, ious, len(boxes))
    return matches


def _match_best_priors(
    matches: NDArray[np.int64], ious: BlockwiseOverlaps, num_boxes: int
) -> None:
    """Give each object its best free prior, highest IoU first, in place."""
    rows = np.argsort(ious.box, kind='stable')
    ends = np.searchsorted(ious.box[rows], np.arange(num_boxes + 1))
    best_iou = np.zeros(num_boxes, ious.overlaps.dtype)
    np.maximum.at(best_iou, ious.box, ious.overlaps.max(axis=1))
    taken: set[int] = set()
    for box in np.argsort(-best_iou, kind='stable'):
        if best_iou[box] <= 0:
            break  # this object and all that follow overlap nothing
        blocks = rows[ends[box] : ends[box + 1]]
        priors = (ious.block[blocks, None] * BLOCK_SIZE + np.arange(BLOCK_SIZE)).reshape(-1)
        overlaps = ious.overlaps[blocks].reshape(-1)
        best = int(overlaps.argmax())
        if priors[best] in taken:
            overlaps[np.isin(priors, list(taken))] = -1.0
            best = int(overlaps.argmax())
        if overlaps[best] > 0:
            matches[priors[best]] = box
            taken.add(int(priors[best]))


def encode_targets(
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    ignore: NDArray[np.floating],
    priors: NDArray[np.float32],
    variances: tuple[float, float],
    matching: MatchingConfig,
) -> Targets:
    """
    Encode the ground truth of one image as training targets of P priors.

    :param boxes: ``(N, 4)`` xyxy, fractions of the network input, sides greater than 0.
    :param labels: ``(N,)`` from 0.
    :param ignore: ``(M, 4)`` xyxy ignore regions, fractions of the network input.
    :param priors: ``(P, 4)`` cxcywh from :func:`mnssd_perception.ssd.generate_priors`.
    :param variances: (centre, size).
    """
    matches = match_priors(cxcywh_to_xyxy(priors), boxes, ignore, matching)
    return encode_matches(matches, boxes, labels, priors, variances)


def encode_matches(
    matches: NDArray[np.int64],
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    priors: NDArray[np.float32],
    variances: tuple[float, float],
) -> Targets:
    """
    Encode the matches of P priors as training targets.

    :param matches: ``(P,)`` as from :func:`match_priors`; the others as in :func:`encode_targets`.
    """
    classes = np.where(matches == BETWEEN_THRESHOLDS, IGNORED, BACKGROUND).astype(np.int64)
    offsets = np.zeros((len(priors), 4), np.float32)
    positive = np.flatnonzero(matches >= 0)
    classes[positive] = np.asarray(labels, np.int64)[matches[positive]] + 1
    offsets[positive] = encode_boxes(boxes[matches[positive]], priors[positive], variances)
    return Targets(classes, offsets)
