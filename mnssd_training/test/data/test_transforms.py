"""Augmented boxes against the pixels that they must cover."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mnssd_perception.ssd import feature_map, ModelSpec, resize_frame, resizing
from mnssd_training.data import Sample
from mnssd_training.data.sample import load_image
from mnssd_training.data.transforms import (
    augment,
    Augmentation,
    MIN_VISIBLE,
    NetworkSample,
    to_network,
)
from mnssd_training.errors import ConfigError
import numpy as np
from numpy.typing import NDArray
import pytest
import torch

NONE = Augmentation(
    zoom_out=0,
    crop=0,
    horizontal_flip=0,
    vertical_flip=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
)
GEOMETRY = replace(
    NONE, zoom_out=0.3, zoom_out_side=2.0, crop=0.8, horizontal_flip=0.5, vertical_flip=0.5
)
SIZE = (200, 250)  # of the painted photograph
OBJECTS = ((5, 5, 35, 60), (60, 20, 140, 70), (150, 100, 190, 190), (0, 150, 60, 200))
REGIONS = ((200, 10, 250, 80), (80, 110, 120, 160))
BACKGROUND, FIRST, STEP = 20, 80, 25  # greys: even the blurred edges of one are no other's


def spec_of(size: tuple[int, int], resize: str = 'stretch') -> ModelSpec:
    names = tuple('abcd')
    return ModelSpec(size, names, (feature_map(size, 32, ((32.0, 32.0),)),), resize)


@pytest.fixture
def painted(make_sample: Callable[..., Sample]) -> tuple[NDArray[np.uint8], Sample]:
    """Rectangles on black: red tells that there is one, green which."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for index, (x1, y1, x2, y2) in enumerate((*OBJECTS, *REGIONS)):
        image[y1:y2, x1:x2] = (255, FIRST + STEP * index, 0)
    return image, make_sample(OBJECTS, range(len(OBJECTS)), REGIONS, size=SIZE)


def seen_at(image: NDArray[np.uint8], index: int) -> NDArray[np.float64] | None:
    """Find the edges of a painted rectangle, fractions of the image, without its blurred rim."""
    mine = np.abs(image[..., 1].astype(int) - FIRST - STEP * index) <= 4
    rows, columns = np.nonzero((image[..., 0] > 240) & mine)
    if not len(rows):
        return None
    size = image.shape[1::-1] * 2
    return np.array((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)) / size


def covers(box: NDArray[Any], inner: NDArray[Any], slack: NDArray[Any]) -> bool:
    return bool((box[:2] <= inner[:2] + slack).all() and (box[2:] >= inner[2:] - slack).all())


def check_against_pixels(seen: NetworkSample, spec: ModelSpec) -> set[str]:
    """Hold every box against the pixels; return what has been met."""
    met = set()
    slack = 2.5 / np.array(spec.input_size[::-1])
    assert len(set(seen.labels.tolist())) == len(seen.labels)
    hidden = list(seen.ignore)
    for index in range(len(OBJECTS) + len(REGIONS)):
        pixels = seen_at(seen.image, index)
        box = seen.boxes[seen.labels == index]
        if len(box):
            met.add('object')
            assert pixels is not None, f'nothing is painted where object {index} is said to be'
            assert np.abs(box[0] - pixels).max() <= slack.max()
            assert covers(box[0], pixels, slack)
        elif pixels is not None:
            near = [i for i, region in enumerate(hidden) if covers(region, pixels, slack)]
            assert near, f'rectangle {index} is in view and nothing tells'
            region = hidden.pop(near[0])
            assert np.abs(region - pixels).max() <= slack.max()
            met.add('hidden object' if index < len(OBJECTS) else 'region')
        else:
            met.add('gone')
    thin = [min(region[2:] - region[:2]) for region in hidden]  # nothing but a rim is left of it
    assert all(side <= 4.0 / min(spec.input_size) for side in thin)
    return met


@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
def test_boxes_and_regions_stay_with_their_pixels(
    painted: tuple[NDArray[np.uint8], Sample], resize: str
) -> None:
    spec = spec_of((256, 256), resize)
    met = set()
    for seed in range(150):
        torch.manual_seed(seed)
        met |= check_against_pixels(augment(*painted, spec, GEOMETRY), spec)
    assert met == {'object', 'hidden object', 'region', 'gone'}


@pytest.mark.parametrize(
    ('change', 'image_to_boxes'),
    [
        (
            {'horizontal_flip': 1.0},
            lambda b: np.stack((250 - b[:, 2], b[:, 1], 250 - b[:, 0], b[:, 3]), 1),
        ),
        (
            {'vertical_flip': 1.0},
            lambda b: np.stack((b[:, 0], 200 - b[:, 3], b[:, 2], 200 - b[:, 1]), 1),
        ),
        ({}, lambda b: b),
    ],
    ids=['horizontal', 'vertical', 'none'],
)
def test_flips_are_exact(
    painted: tuple[NDArray[np.uint8], Sample],
    change: dict[str, float],
    image_to_boxes: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    image, sample = painted
    seen = augment(image, sample, spec_of(SIZE), replace(NONE, **change))
    pixels = np.array((250, 200, 250, 200))
    np.testing.assert_allclose(seen.boxes * pixels, image_to_boxes(sample.boxes), atol=1e-3)
    np.testing.assert_allclose(seen.ignore * pixels, image_to_boxes(sample.ignore), atol=1e-3)
    for label, box in zip(seen.labels, seen.boxes * pixels, strict=True):
        assert np.array_equal(seen_at(seen.image, label) * pixels, np.round(box))


def test_an_object_that_is_cut_off_becomes_a_region(make_sample: Callable[..., Sample]) -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    sample = make_sample([(0, 0, 250, 40), (100, 80, 130, 110)], [0, 1], size=SIZE)
    met = set()
    for seed in range(60):
        torch.manual_seed(seed)
        seen = augment(image, sample, spec_of(SIZE), replace(NONE, crop=1.0, crop_ious=(0.0, 1.0)))
        met.add((0 in seen.labels, len(seen.ignore) > 0))
    assert {(True, False), (False, True)} <= met
    assert 0 < MIN_VISIBLE < 1


def test_small_boxes_become_regions(make_sample: Callable[..., Sample]) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    sample = make_sample(
        [(0, 0, 10, 10), (20, 20, 60, 23), (30, 30, 70, 70)], [0, 1, 2], size=(100, 100)
    )
    seen = to_network(image, sample, spec_of((50, 50)), min_side=2.0)
    assert seen.labels.tolist() == [0, 2]
    np.testing.assert_allclose(seen.ignore, [[0.2, 0.2, 0.6, 0.23]], atol=1e-6)


def test_without_augmentation_the_network_sees_what_the_drone_sees(
    train_samples: list[Sample],
) -> None:
    sample = train_samples[0]
    image, spec = load_image(sample), spec_of((160, 160), 'letterbox')
    plan = resizing(sample.size, spec.input_size, 'letterbox')
    seen = to_network(image, sample, spec)
    assert np.array_equal(seen.image, resize_frame(image, plan))
    np.testing.assert_allclose(plan.to_source(seen.boxes), sample.boxes, atol=1e-3)
    assert np.array_equal(seen.labels, sample.labels)


def test_the_photograph_is_not_changed(train_samples: list[Sample]) -> None:
    sample = train_samples[0]
    image = load_image(sample)
    before, boxes = image.copy(), sample.boxes.copy()
    torch.manual_seed(3)
    seen = augment(image, sample, spec_of((96, 120)), Augmentation())
    assert np.array_equal(image, before)
    assert np.array_equal(sample.boxes, boxes)
    assert seen.image.shape == (96, 120, 3)
    assert seen.image.dtype == np.uint8
    assert seen.image.flags.c_contiguous


def test_a_photograph_without_objects_goes_through_everything(
    make_sample: Callable[..., Sample],
) -> None:
    image = np.full((40, 50, 3), 90, np.uint8)
    for seed in range(30):
        torch.manual_seed(seed)
        seen = augment(image, make_sample(size=(40, 50)), spec_of((32, 32)), Augmentation())
        assert seen.boxes.shape == seen.ignore.shape == (0, 4)
        assert seen.labels.shape == (0,)


def test_a_grey_photograph_stays_grey(train_samples: list[Sample]) -> None:
    grey = replace(Augmentation(), saturation=0.0, hue=0.0, brightness=0.3)
    image = load_image(train_samples[0])
    means = set()
    for seed in range(8):
        torch.manual_seed(seed)
        seen = augment(image, train_samples[0], spec_of((96, 120)), grey).image
        assert np.array_equal(seen[..., 0], seen[..., 1])
        assert np.array_equal(seen[..., 0], seen[..., 2])
        means.add(round(float(seen.mean()), 3))
    assert len(means) > 4


@pytest.mark.parametrize(
    'change',
    [
        {'zoom_out': 1.1},
        {'crop': -0.1},
        {'vertical_flip': float('nan')},
        {'zoom_out_side': 0.5},
        {'crop_scale': 0.0},
        {'crop_ious': ()},
        {'crop_ious': (0.0, 0.9)},  # would search for ever in a photograph without objects
        {'hue': 0.6},
        {'brightness': 1.5},
    ],
)
def test_what_cannot_be_is_refused_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf'augmentation\.{next(iter(change))}: expected'):
        Augmentation(**change)
