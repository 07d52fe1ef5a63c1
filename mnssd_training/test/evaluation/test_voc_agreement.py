"""
VOC average precision against its definition, written down once more in plain loops, to 1e-6.

The definition is that of the devkit (VOCevaldet.m): rank the detections of a class over all
images, give each to the object of its image that it overlaps most, call it right if
that overlap reaches 0.5 and the object is still free. Precision is made monotone from the right;
the area under it is summed over all recalls (since 2010), or read at eleven of them (2007).
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections
from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples, Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.evaluation import average_precision, detect_samples, voc_ap
import numpy as np
import pytest

Scored = tuple[list[Sample], list[Detections]]
Box = tuple[float, float, float, float]


def shared_area(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def verdicts(samples: list[Sample], found: list[Detections], label: int, least: float) -> str:
    """Write down, best detection first: R right, W wrong, nothing for one in an ignore region."""
    ranked = sorted(
        (-float(one.scores[i]), index, i)
        for index, one in enumerate(found)
        for i in range(len(one))
        if one.labels[i] == label
    )
    taken = set()
    letters = ''
    for _, index, i in ranked:
        box = tuple(map(float, found[index].boxes[i]))
        sample = samples[index]
        best, most = None, -1.0
        for number in range(len(sample.boxes)):
            other = tuple(map(float, sample.boxes[number]))
            common = shared_area(box, other)
            iou = common / (area(box) + area(other) - common)
            if sample.labels[number] == label and iou > most:
                best, most = (index, number), iou
        if most >= least:
            letters += 'W' if best in taken else 'R'
            taken.add(best)
            continue
        hidden = [
            shared_area(box, tuple(map(float, region))) / area(box)
            for region, own in zip(sample.ignore, sample.ignore_labels)
            if own in (label, ANY_CLASS)
        ]
        if max(hidden, default=0.0) < least:
            letters += 'W'
    return letters


def curve(letters: str, num: int) -> list[tuple[Fraction, Fraction]]:
    """Recall and precision after each detection, exactly."""
    return [
        (Fraction(letters[:k].count('R'), num), Fraction(letters[:k].count('R'), k))
        for k in range(1, len(letters) + 1)
    ]


def all_points(points: list[tuple[Fraction, Fraction]]) -> Fraction:
    total, before = Fraction(0), Fraction(0)
    for k, (recall, _) in enumerate(points):
        total += (recall - before) * max(precision for _, precision in points[k:])
        before = recall
    return total


def eleven_points(points: list[tuple[Fraction, Fraction]]) -> Fraction:
    tops = [
        max((precision for recall, precision in points if recall >= Fraction(i, 10)), default=0)
        for i in range(11)
    ]
    return Fraction(sum(tops)) / 11


def check(samples: list[Sample], found: list[Detections], num_classes: int, least: float) -> int:
    """Compare every class; return how many have objects."""
    num_compared = 0
    for label in range(num_classes):
        num = sum(int((sample.labels == label).sum()) for sample in samples)
        for kind, definition in (('all', all_points), ('11', eleven_points)):
            ours = voc_ap(samples, found, num_classes, least, kind)[label]
            assert ours.num_objects == num
            if num:
                expected = definition(curve(verdicts(samples, found, label, least), num))
                assert ours.ap == pytest.approx(float(expected), abs=1e-6)
                num_compared += kind == 'all'
    return num_compared


@pytest.mark.parametrize('least', [0.5, 0.75])
@pytest.mark.parametrize('regions', [False, True], ids=['plain', 'regions'])
def test_random_detections_in_a_crowd(
    crowded: Callable[..., Scored], regions: bool, least: float
) -> None:
    for seed in range(3):
        samples, found = crowded(seed, regions=regions)
        assert check(samples, found, 3, least) == 3


def test_real_detections(real: Scored) -> None:
    assert check(*real, 4, 0.5) == 4


def test_real_detections_of_a_whole_validation_set(
    shipped_detector: Detector, shared: Path
) -> None:
    names = shipped_detector.class_names
    samples = read_samples(SourceConfig(root=str(shared / 'data' / 'hit_uav')), 'val', names)[3::8]
    assert check(samples, detect_samples(shipped_detector, samples), len(names), 0.5) >= 3


def test_a_recall_of_exactly_three_tenths_counts() -> None:
    """0.3 is less than 3 * 0.1 in floating point."""
    found = np.arange(1, 4)
    recall, precision = found / 10, np.ones(3)
    assert average_precision(recall, precision, '11') == pytest.approx(4 / 11)
    assert float(eleven_points(curve('RRR', 10))) == pytest.approx(4 / 11)
