"""Whole images with what was found in them, the worst first."""

from collections.abc import Sequence

import cv2
from mnssd_perception.matching import MatchResult
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import load_image, Sample
import numpy as np
from numpy.typing import NDArray

# Okabe and Ito, Color Universal Design, 2008; RGB.
CORRECT, CONFUSED, WRONG, MISSED = (0, 190, 140), (86, 180, 233), (255, 150, 0), (240, 90, 200)
RIM = (0, 0, 0)

WIDTH = 640  # pixels of an image, at most


def count_outcome(sample: Sample, detections: Detections, outcome: MatchResult) -> dict[str, int]:
    """
    Count what became of the objects and the detections of one image.

    :return: ``correct``, ``confused`` (another class was found), ``wrong`` and ``missed``.
    """
    return {
        'correct': len(outcome.true_positives),
        'confused': len(outcome.misclassified),
        'wrong': len(outcome.false_positives),
        'missed': len(outcome.false_negatives),
    }


def choose_scenes(counts: Sequence[dict[str, int]], num: int) -> list[int]:
    """
    Choose the images with the most errors.

    :param counts: of each image.
    :param num: images, at most.
    :return: their numbers, worst first; none without an error.
    """
    errors = np.array([_count_errors(row) for row in counts], np.int64)
    order = np.argsort(-errors, kind='stable')[:num]
    return [int(index) for index in order if errors[index]]


def choose_differing_scenes(
    samples: Sequence[Sample],
    found: Sequence[Sequence[Detections]],
    outcomes: Sequence[Sequence[MatchResult]],
    num: int = 6,
) -> list[int]:
    """
    Choose the images in which models differ most by their number of errors.

    :param samples: the annotations.
    :param found: the detections of each model in each image.
    :param outcomes: those of each model in each image.
    :param num: images, at most.
    :return: their numbers, the largest difference first.
    """
    errors = np.array(
        [
            [_count_errors(count_outcome(*one)) for one in zip(samples, *model)]
            for model in zip(found, outcomes)
        ]
    )
    order = np.argsort(-np.ptp(errors, axis=0), kind='stable')[:num]
    return [int(index) for index in order]


def _count_errors(counts: dict[str, int]) -> int:
    """Count what is not correct."""
    return counts['confused'] + counts['wrong'] + counts['missed']


def draw_scene(sample: Sample, detections: Detections, outcome: MatchResult) -> NDArray[np.uint8]:
    """
    Draw what was found, what was taken for another class, what is wrong and what was missed.

    :param sample: the annotations.
    :param detections: what was found.
    :param outcome: what became of both.
    :return: ``(H, W, 3)`` uint8 RGB, at most 640 pixels wide.
    :raises DatasetError: if the image cannot be read.
    """
    image = load_image(sample)
    scale = min(1.0, WIDTH / image.shape[1])
    size = round(image.shape[1] * scale), max(1, round(image.shape[0] * scale))
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    groups = (
        (detections.boxes[outcome.true_positives[:, 1]], CORRECT),
        (detections.boxes[outcome.misclassified[:, 1]], CONFUSED),
        (sample.boxes[outcome.false_negatives], MISSED),
        (detections.boxes[outcome.false_positives], WRONG),
    )
    for boxes, colour in groups:
        for x1, y1, x2, y2 in np.rint(boxes * scale).astype(int).tolist():
            cv2.rectangle(picture, (x1 - 3, y1 - 3), (x2 + 2, y2 + 2), RIM, 1)
            for grow in (1, 2):  # two pixels, since pages show images smaller
                corners = (x1 - grow, y1 - grow), (x2 + grow - 1, y2 + grow - 1)
                cv2.rectangle(picture, *corners, colour, 1)
    return picture
