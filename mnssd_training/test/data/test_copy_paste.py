"""Copied objects: which, where, and how they look there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import AssignmentConfig, AugmentationConfig
from mnssd_training.data import load_image, Sample
from mnssd_training.data.copy_paste import make_object_pool, ObjectPool, paste_objects
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.errors import ConfigError
import numpy as np
from numpy.typing import NDArray
import pytest

Make = Callable[..., Sample]
CONFIG = AugmentationConfig(copy_paste=1.0)
SIZE = (120, 160)
WINDOW = (0, 0, 160, 120)


@pytest.fixture
def paint(make_sample: Make, tmp_path: Path) -> Callable[..., Sample]:
    """Make a sample whose objects are rectangles of one level on even ground."""

    def make(
        name: str, ground: int, level: int, boxes: Any = (), labels: Any = None, **more: Any
    ) -> Sample:
        image = np.full((*SIZE, 3), ground, np.uint8)
        for x1, y1, x2, y2 in boxes:
            image[y1:y2, x1:x2] = level
        path = tmp_path / f'{name}.png'
        cv2.imwrite(str(path), image)
        labels = [0] * len(boxes) if labels is None else labels
        return make_sample(boxes, labels, size=SIZE, name=name, path=path, **more)

    return make


def pool_of(*samples: Sample, groups: str = '', **config: Any) -> ObjectPool:
    pool = make_object_pool(samples, CONFIG.model_copy(update=config), groups)
    assert pool is not None
    return pool


def pasted(
    sample: Sample, pool: ObjectPool, seed: int = 0, window: Any = WINDOW, most: int = 4
) -> tuple[Sample, NDArray[np.uint8]]:
    image = load_image(sample)
    image.setflags(write=False)
    return paste_objects(sample, image, window, pool, most, np.random.default_rng(seed))


# --- which objects ------------------------------------------------------------------------------


def test_no_pool_without_copy_paste(train_samples: list[Sample]) -> None:
    assert make_object_pool(train_samples, AugmentationConfig(), '') is None


def test_no_objects_is_an_error_with_a_way_out(make_sample: Make) -> None:
    for samples in ([], [make_sample()], [make_sample([(99, 99, 300, 300)], [0])]):
        with pytest.raises(ConfigError, match=r'of at most 48 pixels .* raise augmentation\.copy'):
            make_object_pool(samples, CONFIG, '')


def test_only_small_objects_that_stand_alone_are_copied(make_sample: Make) -> None:
    boxes = [
        (100, 100, 120, 120),
        (121, 100, 141, 120),  # beside the first
        (200, 100, 220, 120),
        (1, 200, 21, 220),  # at the edge of the image
        (300, 100, 400, 200),  # large
        (300, 300, 320, 320),  # in an ignore region
    ]
    sample = make_sample(boxes, [0] * 6, ignore=[(310, 310, 330, 330)])
    assert pool_of(sample).objects[0].tolist() == [[0, 2]]


def test_classes_are_drawn_by_the_root_of_their_numbers(make_sample: Make) -> None:
    boxes = [(30 * i + 5, 50, 30 * i + 15, 60) for i in range(20)]
    pool = pool_of(make_sample(boxes, [0] * 16 + [1] * 4))
    weights, labels = pool.weights[0], pool.samples[0].labels[pool.objects[0][:, 1]]
    assert weights[labels == 0].sum() == pytest.approx(4)
    assert weights[labels == 1].sum() == pytest.approx(2)


def test_objects_stay_in_their_condition(paint: Make) -> None:
    warm = paint('1_a', 80, 200, [(40, 40, 52, 60)], [0])
    cold = paint('0_a', 80, 20, [(40, 40, 60, 52)], [1])
    empty = [paint('1_b', 80, 80), paint('0_b', 80, 80)]
    pool = pool_of(warm, cold, *empty, groups='^(?P<time>[01])_')
    for seed in range(10):
        assert set(pasted(empty[0], pool, seed)[0].labels) == {0}
        assert set(pasted(empty[1], pool, seed)[0].labels) == {1}


def test_condition_without_objects_gets_none(paint: Make) -> None:
    warm, empty = paint('1_a', 80, 200, [(40, 40, 52, 60)]), paint('0_b', 80, 80)
    sample, image = pasted(empty, pool_of(warm, empty, groups='^(?P<time>[01])_'))
    assert sample is empty
    assert (image == 80).all()


# --- where and how ------------------------------------------------------------------------------


def test_object_keeps_its_size_and_contrast(paint: Make) -> None:
    donor = paint('a', 80, 200, [(40, 40, 52, 60)], [2])
    empty = paint('b', 100, 100)
    for seed in range(10):
        sample, image = pasted(empty, pool_of(donor, empty), seed)
        (x1, y1, x2, y2), label = sample.boxes[0].astype(int), sample.labels[0]
        assert (x2 - x1, y2 - y1, label, len(sample.boxes)) == (12, 20, 2, 1)
        assert (image[y1 + 4 : y2 - 4, x1 + 2 : x2 - 2] == 220).all()
        image[y1:y2, x1:x2] = 100
        assert (image == 100).all()  # no trace of the margin on even ground


@pytest.mark.parametrize(
    ('ground', 'is_pasted'), [(190, True), (210, False), (60, True), (10, True)]
)
def test_object_is_warmer_than_the_ground_in_both_images(
    paint: Make, ground: int, is_pasted: bool
) -> None:
    donor, empty = paint('a', 80, 200, [(40, 40, 52, 60)]), paint('b', ground, ground)
    sample, _ = pasted(empty, pool_of(donor, empty))
    assert len(sample.boxes) == is_pasted


def test_object_is_not_pasted_where_it_saturates(paint: Make) -> None:
    """It would be as white as the ground."""
    donor, empty = paint('a', 100, 255, [(40, 40, 52, 60)]), paint('b', 250, 250)
    assert not len(pasted(empty, pool_of(donor, empty))[0].boxes)


def test_object_is_not_pasted_on_clutter(paint: Make) -> None:
    donor, busy = paint('a', 80, 200, [(40, 40, 52, 60)]), paint('b', 80, 80)
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 1), np.uint8).repeat(3, axis=2)
    cv2.imwrite(str(busy.path), noise)
    assert not len(pasted(busy, pool_of(donor, busy))[0].boxes)


def test_invisible_object_is_not_copied(paint: Make) -> None:
    donor, empty = paint('a', 80, 85, [(40, 40, 52, 60)]), paint('b', 80, 80)
    assert not len(pasted(empty, pool_of(donor, empty))[0].boxes)


def test_objects_cover_nothing_and_stay_in_the_window(paint: Make) -> None:
    donor = paint('a', 80, 200, [(20 * i + 5, 40, 20 * i + 15, 52) for i in range(7)])
    full = paint('b', 90, 90, [(30, 30, 60, 60)], ignore=[(80, 20, 110, 90)])
    window, num = (20, 10, 140, 100), 0
    for seed in range(30):
        sample, _ = pasted(full, pool_of(donor, full), seed, window, most=7)
        ious = box_ops.box_iou(sample.boxes, np.concatenate((sample.boxes, sample.ignore)))
        np.fill_diagonal(ious, 0)
        assert not ious.any()
        new = sample.boxes[1:]
        assert (new >= (20, 10, 20, 10)).all()
        assert (new <= (140, 100, 140, 100)).all()
        assert len(sample.labels) == len(sample.boxes) <= 1 + 7
        num += len(new)
    assert num > 40


def test_window_smaller_than_the_object_gets_none(paint: Make) -> None:
    donor, empty = paint('a', 80, 200, [(40, 40, 52, 60)]), paint('b', 80, 80)
    assert not len(pasted(empty, pool_of(donor, empty), window=(0, 0, 16, 16))[0].boxes)


# --- in the training set ------------------------------------------------------------------------


def test_training_set_pastes_real_objects_by_seed_epoch_and_name(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    config = AugmentationConfig(copy_paste=0.8, copy_paste_max_size=100, zoom_out=0, iou_crop=0)

    def items(samples: list[Sample]) -> dict[str, tuple[bytes, int]]:
        pool = make_object_pool(samples, config, '')
        dataset = TrainingSet(samples, spec, config, AssignmentConfig(), 3, pool)
        return {
            f'{epoch} {item[0]}': (item[1].tobytes(), int((item[2] > 0).sum()))
            for epoch in range(4)
            for item in (dataset[epoch, index, (256, 320)] for index in range(4))
        }

    found = items(train_samples)
    assert found == items(train_samples)
    plain = TrainingSet(train_samples, spec, config, AssignmentConfig(), 3)
    before = sum(int((plain[e, i, (256, 320)][2] > 0).sum()) for e in range(4) for i in range(4))
    assert sum(num for _, num in found.values()) > before
