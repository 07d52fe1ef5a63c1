"""Zoom-out, IoU crop and large-scale jitter respect their limits."""

import math

from mnssd_perception.ssd import boxes as box_ops
from mnssd_training.data.random_crops import iou_crop, large_scale_jitter, zoom_out
import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

EMPTY = np.zeros((0, 4), np.float32)
SIZE = (200, 300)
FULL = (0.0, 0.0, 300.0, 200.0)
OBJECTS = np.array([[20, 30, 120, 130], [200, 100, 290, 180]], np.float32)
DRAWS = 200


def test_zoom_out_keeps_the_aspect_ratio_and_contains_the_image() -> None:
    generator = np.random.default_rng(1)
    ratios = []
    for _ in range(DRAWS):
        x1, y1, x2, y2 = zoom_out(FULL, 3.0, generator)
        assert x1 <= 0
        assert y1 <= 0
        assert x2 >= 300 - 1e-9
        assert y2 >= 200 - 1e-9
        assert (x2 - x1) / (y2 - y1) == pytest.approx(1.5)
        ratios.append((x2 - x1) / 300)
    assert 1 <= min(ratios) < 1.1
    assert 2.9 < max(ratios) <= 3


@pytest.mark.parametrize('min_iou', [0.0, 0.3, 0.7])
def test_iou_crop_reaches_the_minimum_iou_with_an_object(min_iou: float) -> None:
    generator = np.random.default_rng(2)
    cropped = 0
    for _ in range(DRAWS):
        crop = iou_crop(FULL, OBJECTS, (min_iou,), 0.3, generator)
        if crop == FULL:
            continue
        cropped += 1
        x1, y1, x2, y2 = crop
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= 200
        assert x2 - x1 >= 90 - 1e-9
        assert y2 - y1 >= 60 - 1e-9
        assert 0.5 - 1e-9 <= (x2 - x1) / (y2 - y1) <= 2 + 1e-9
        centres = (OBJECTS[:, :2] + OBJECTS[:, 2:]) / 2
        inside = ((centres > (x1, y1)) & (centres < (x2, y2))).all(axis=1)
        assert inside.any()
        assert box_ops.box_iou(np.array([crop]), OBJECTS[inside]).max() >= min_iou
    assert cropped > DRAWS / 10


@pytest.mark.parametrize(
    ('boxes', 'ious'),
    [
        (EMPTY, (0.0, 0.5)),
        (OBJECTS, (1.0,)),
        (OBJECTS, ()),
        (np.array([[10, 10, 14, 14]], np.float32), (0.5,)),  # too small for any crop
    ],
    ids=['empty', 'no crop', 'no choice', 'small'],
)
def test_iou_crop_returns_the_crop_itself_where_none_fits(
    boxes: np.ndarray, ious: tuple[float, ...]
) -> None:
    generator = np.random.default_rng(3)
    assert all(iou_crop(FULL, boxes, ious, 0.3, generator) == FULL for _ in range(20))


def test_iou_crop_of_an_image_too_wide_for_the_aspect_ratio() -> None:
    boxes = np.array([[10, 2, 50, 8]], np.float32)
    crop = (0.0, 0.0, 1000.0, 10.0)
    assert iou_crop(crop, boxes, (0.0,), 0.3, np.random.default_rng(4)) == crop


def test_iou_crops_are_as_large_as_those_of_torchvision() -> None:
    generator, options = np.random.default_rng(5), [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    peer = v2.RandomIoUCrop(sampler_options=options)
    image = tv_tensors.Image(torch.zeros((1, *SIZE), dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes(torch.from_numpy(OBJECTS), format='XYXY', canvas_size=SIZE)
    areas, peer_areas = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for _ in range(150):
            x1, y1, x2, y2 = iou_crop(FULL, OBJECTS, options, 0.3, generator)
            areas.append((x2 - x1) * (y2 - y1) / (200 * 300))
            peer_areas.append(peer(image, boxes)[0][0].numel() / (200 * 300))
    assert np.mean(areas) == pytest.approx(np.mean(peer_areas), abs=0.06)
    deciles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(
        np.quantile(areas, deciles), np.quantile(peer_areas, deciles), atol=0.2
    )


def draw_jitter(
    boxes: np.ndarray = EMPTY, unit: tuple[float, float] = (1.0, 1.0), size: tuple[int, int] = SIZE
) -> np.ndarray:
    """Draw many crops for a region of 80 x 100."""
    generator = np.random.default_rng(6)
    draws = [
        large_scale_jitter(size, boxes, (80, 100), unit, (0.5, 2.0), 1.2, generator)
        for _ in range(DRAWS)
    ]
    return np.array(draws)


@pytest.mark.parametrize('unit', [(1.0, 1.0), (0.5, 0.25)], ids=str)
def test_jitter_draws_scale_and_aspect_within_their_ranges(unit: tuple[float, float]) -> None:
    crops = draw_jitter(unit=unit)
    x = np.log(100 / (crops[:, 2] - crops[:, 0]) / unit[1])
    y = np.log(80 / (crops[:, 3] - crops[:, 1]) / unit[0])
    scale, stretch = (x + y) / 2, x - y
    assert -math.log(2) <= scale.min() < -0.6
    assert 0.6 < scale.max() <= math.log(2)
    assert abs(scale.mean()) < 0.1
    assert 0.9 * math.log(1.2) < np.abs(stretch).max() <= math.log(1.2)


def test_jitter_stays_inside_the_image_or_contains_it() -> None:
    for boxes in (EMPTY, OBJECTS):
        crops = draw_jitter(boxes, size=(100, 500))
        for low, high, side in [(0, 2, 500), (1, 3, 100)]:
            fits = crops[:, high] - crops[:, low] <= side
            slack = 1e-9
            assert (crops[fits, low] >= -slack).all()
            assert (crops[fits, high] <= side + slack).all()
            assert (crops[~fits, low] <= slack).all()
            assert (crops[~fits, high] >= side - slack).all()


def test_half_of_the_jittered_crops_contain_an_object() -> None:
    lonely = np.array([[1000, 1500, 1010, 1510]], np.float32)
    crops = draw_jitter(lonely, size=(4000, 5000))
    inside = (crops[:, :2] < lonely[0, :2]).all(1) & (crops[:, 2:] > lonely[0, 2:]).all(1)
    assert 0.4 < inside.mean() < 0.6
