"""Choose and draw the failures that are most worth a look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
from mnssd_perception.matching import MatchResult
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import Detections
from mnssd_training.data.hard_negatives import HardNegative
from mnssd_training.data.sample import Sample
from mnssd_training.reporting import drawing
import numpy as np
from numpy.typing import NDArray

# The values stand in reports, where they stay as they were first written.
FailureType = Literal['false alarm', 'bad box', 'double', 'confusion', 'missed']
FAILURE_TYPES: dict[FailureType, tuple[str, str]] = {
    'false alarm': ('Background', 'False positives far from any object of their class.'),
    'bad box': ('Localisation', 'False positives whose IoU with an object is too low.'),
    'double': ('Duplicate', 'False positives on an object that another detection matches.'),
    'confusion': ('Classification', 'Detections that match an object of another class.'),
    'missed': ('Missed', 'False negatives, the largest objects first.'),
}
MIN_IOU = 0.1  # below it, a detection has nothing to do with an object
MAX_PER_IMAGE = 2  # failures of one type, so that a single bad image does not fill the list

# People with any colour vision tell these apart (after Okabe and Ito, Color Universal Design,
# 2008); RGB.
GROUND_TRUTH, DETECTION, OTHER_OBJECTS = (0, 190, 140), (255, 150, 0), (170, 170, 170)
LEGEND = {'ground truth': GROUND_TRUTH, 'detection': DETECTION, 'other objects': OTHER_OBJECTS}
CROP_SIDE = 224  # pixels of a drawn failure
MARGIN = 1.0  # around the boxes, relative to their sides
MIN_WINDOW = 48  # pixels of the image; a smaller window shows nothing but its pixels


@dataclass(frozen=True)
class Failure:
    """
    A detection or an object that counts as an error, by index.

    The score of a missed object is the best of its class near it, below the threshold, or 0.
    """

    type: FailureType
    sample: int
    detection: int | None
    object: int | None
    score: float
    iou: float


def worst_failures(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    matches: Sequence[MatchResult],
    num_per_type: int = 12,
    iou_threshold: float = 0.5,
) -> dict[FailureType, list[Failure]]:
    """Choose the worst failures of each type, worst first; matches have ``iou_threshold``."""
    failures: list[Failure] = []
    for index, (sample, image_detections, match) in enumerate(zip(samples, detections, matches)):
        failures += _find_failures(index, sample, image_detections, match, iou_threshold)

    def badness(failure: Failure) -> float:
        if failure.type != 'missed':
            return failure.score
        x1, y1, x2, y2 = samples[failure.sample].boxes[failure.object]
        return float((x2 - x1) * (y2 - y1))

    failures.sort(key=badness, reverse=True)
    worst: dict[FailureType, list[Failure]] = {name: [] for name in FAILURE_TYPES}
    for failure in failures:
        chosen = worst[failure.type]
        num_in_image = sum(other.sample == failure.sample for other in chosen)
        if len(chosen) < num_per_type and num_in_image < MAX_PER_IMAGE:
            chosen.append(failure)
    return worst


def hard_negatives(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    matches: Sequence[MatchResult],
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
) -> tuple[HardNegative, ...]:
    """List all false positives far from any object of their class, highest score first."""
    negatives = [
        HardNegative(
            image=sample.name,
            class_name=class_names[image_detections.labels[failure.detection]],
            box=tuple(image_detections.boxes[failure.detection].tolist()),
            score=failure.score,
        )
        for index, (sample, image_detections, match) in enumerate(
            zip(samples, detections, matches)
        )
        for failure in _find_failures(index, sample, image_detections, match, iou_threshold)
        if failure.type == 'false alarm' and failure.detection is not None
    ]
    return tuple(sorted(negatives, key=lambda negative: -negative.score))


def _find_failures(
    index: int, sample: Sample, detections: Detections, match: MatchResult, iou_threshold: float
) -> Iterator[Failure]:
    """Classify the errors in one image."""
    ious = box_ops.box_iou(detections.boxes, sample.boxes)  # (D, N)
    scores = detections.scores.tolist()
    for row, column in match.misclassified.tolist():
        yield Failure('confusion', index, column, row, scores[column], float(ious[column, row]))
    for column in match.false_positives.tolist():
        is_same_class = sample.labels == detections.labels[column]
        class_ious = np.where(is_same_class, ious[column], 0.0)
        iou = float(class_ious.max(initial=0.0))
        if iou < MIN_IOU:
            yield Failure('false alarm', index, column, None, scores[column], 0.0)
        else:
            name: FailureType = 'double' if iou >= iou_threshold else 'bad box'
            yield Failure(name, index, column, int(class_ious.argmax()), scores[column], iou)
    for row in match.false_negatives.tolist():
        is_near = (detections.labels == sample.labels[row]) & (ious[:, row] >= iou_threshold)
        # Detections above the score threshold match another object.
        is_near[match.true_positives[:, 1]] = False
        is_near[match.misclassified[:, 1]] = False
        is_near[match.false_positives] = False
        score = float(detections.scores[is_near].max(initial=0.0))
        iou = float(ious[is_near, row].max(initial=0.0))
        yield Failure('missed', index, None, row, score, iou)


def draw_failure(
    image: NDArray[np.uint8], sample: Sample, detections: Detections, failure: Failure
) -> NDArray[np.uint8]:
    """Draw a failure in :data:`LEGEND` colours on a crop of the image, both ``(H, W, 3)`` RGB."""
    boxes = [box for i, box in enumerate(sample.boxes) if i != failure.object]
    colours = [OTHER_OBJECTS] * len(boxes)
    failed_boxes = []
    if failure.object is not None:
        failed_boxes.append(sample.boxes[failure.object])
        colours.append(GROUND_TRUTH)
    if failure.detection is not None:
        failed_boxes.append(detections.boxes[failure.detection])
        colours.append(DETECTION)
    edges = np.array(failed_boxes, np.float64)
    low, high = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    side = max(MIN_WINDOW, round(float((high - low).max()) * (1 + 2 * MARGIN)))
    left, top = np.floor((low + high - side) / 2).astype(int).tolist()
    crop = _crop(image, left, top, side)
    boxes_in_window = np.array([*boxes, *failed_boxes]) - (left, top, left, top)
    drawing.draw_boxes(crop, boxes_in_window * (CROP_SIDE / side), colours)
    return crop


def _crop(image: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Crop a square and resize it to ``CROP_SIDE``; it is grey where it leaves the image."""
    crop = np.full((CROP_SIDE, CROP_SIDE, 3), 114, np.uint8)
    height, width = image.shape[:2]
    corners = np.array((left, top, left + side, top + side))
    x1, y1, x2, y2 = np.clip(corners, 0, (width, height, width, height)).tolist()
    inside = np.array((x1 - left, y1 - top, x2 - left, y2 - top)) * CROP_SIDE / side
    u1, v1, u2, v2 = inside.round().astype(int).tolist()
    if u2 > u1 and v2 > v1:
        method = cv2.INTER_AREA if side > CROP_SIDE else cv2.INTER_CUBIC
        crop[v1:v2, u1:u2] = cv2.resize(
            image[y1:y2, x1:x2], (u2 - u1, v2 - v1), interpolation=method
        )
    return crop
