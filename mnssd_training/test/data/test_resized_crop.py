"""Resized crops map pixels and boxes alike."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import resize_frame, resize_transform
from mnssd_training.data.resized_crop import (
    content_region,
    flip_in_region,
    map_crop,
    paste_crop,
    ResizedCrop,
    transform_boxes,
)
import numpy as np
import pytest

EMPTY = np.zeros((0, 4), np.float32)
MARGIN = 40  # pixels that a crop may reach beyond the image

sides = st.integers(1, 60)
sizes = st.tuples(sides, sides)
modes = st.sampled_from(['stretch', 'letterbox'])


@st.composite
def crops(draw: st.DrawFn) -> tuple[tuple[int, int], ResizedCrop, tuple[int, int, int, int]]:
    """Draw the size of an image, a resized crop of it, and the region that it is in."""
    height, width = draw(sizes)
    part = st.floats(0, 1)
    x1, y1 = draw(part) * (width + MARGIN) - MARGIN, draw(part) * (height + MARGIN) - MARGIN
    x2 = max(x1, 0) + 0.1 + draw(part) * (width - max(x1, 0) + MARGIN)
    y2 = max(y1, 0) + 0.1 + draw(part) * (height - max(y1, 0) + MARGIN)
    left, top = draw(sides), draw(sides)
    region = (left, top, left + draw(sides), top + draw(sides))
    crop = map_crop((height, width), (x1, y1, x2, y2), region)
    return (
        (height, width),
        flip_in_region(crop, region, flip_x=draw(st.booleans()), flip_y=draw(st.booleans())),
        region,
    )


@settings(max_examples=200, deadline=None)
@given(crops())
def test_source_and_target_are_inside_image_and_region(
    case: tuple[tuple[int, int], ResizedCrop, tuple[int, int, int, int]],
) -> None:
    (height, width), crop, region = case
    x1, y1, x2, y2 = crop.source
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    left, top, right, bottom = crop.target
    assert region[0] <= left < right <= region[2]
    assert region[1] <= top < bottom <= region[3]
    boxes, visibility = transform_boxes(crop, np.array([[0, 0, width, height], crop.source]))
    np.testing.assert_allclose(boxes, [crop.target, crop.target])
    area = (x2 - x1) * (y2 - y1)
    np.testing.assert_allclose(visibility, [area / (width * height), 1.0])


@settings(max_examples=100, deadline=None)
@given(crops())
def test_flipping_twice_is_the_identity(
    case: tuple[tuple[int, int], ResizedCrop, tuple[int, int, int, int]],
) -> None:
    _, crop, region = case
    for x, y in [(True, False), (False, True), (True, True)]:
        flipped = flip_in_region(crop, region, flip_x=x, flip_y=y)
        assert (flipped.flip_x, flipped.flip_y) == (crop.flip_x ^ x, crop.flip_y ^ y)
        assert flip_in_region(flipped, region, flip_x=x, flip_y=y) == crop


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, modes)
def test_the_full_image_equals_the_resize_of_the_drone(
    source_size: tuple[int, int], input_size: tuple[int, int], mode: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*source_size, 3), np.uint8)
    transform = resize_transform(source_size, input_size, mode)
    full = (0.0, 0.0, float(source_size[1]), float(source_size[0]))
    crop = map_crop(source_size, full, content_region(full, input_size, mode))
    canvas = np.full((*input_size, 3), 114, np.uint8)
    paste_crop(crop, image, canvas)
    assert np.array_equal(canvas, resize_frame(image, transform))
    box = np.array([[0.2, 0.1, 0.7, 0.9]]) * (full[2:] * 2)
    fractions = transform_boxes(crop, box)[0] / (input_size[::-1] * 2)
    np.testing.assert_allclose(fractions, transform.to_input(box), atol=1e-6)


def test_pixels_and_boxes_are_flipped_together() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[2:7, 4:14] = 255
    crop = ResizedCrop((0, 0, 30, 20), (10, 0, 40, 20))
    boxes = {
        (False, False): (14, 2, 24, 7),
        (True, False): (26, 2, 36, 7),
        (False, True): (14, 13, 24, 18),
        (True, True): (26, 13, 36, 18),
    }
    for (x, y), (left, top, right, bottom) in boxes.items():
        canvas = np.zeros((20, 50, 3), np.uint8)
        flipped = replace(crop, flip_x=x, flip_y=y)
        paste_crop(flipped, image, canvas)
        expected = np.zeros_like(canvas)
        expected[top:bottom, left:right] = 255
        assert np.array_equal(canvas, expected)
        mapped, visibility = transform_boxes(flipped, np.array([[4, 2, 14, 7]]))
        assert mapped.tolist() == [[left, top, right, bottom]]
        assert visibility.tolist() == [1.0]


@pytest.mark.parametrize(
    ('boxes', 'expected', 'visibility'),
    [
        (EMPTY, [], []),
        ([[12, 6, 18, 8]], [[4, 2, 16, 6]], [1.0]),
        ([[0, 6, 20, 8]], [[0, 2, 20, 6]], [0.5]),  # cut on both sides
        ([[0, 0, 10, 5]], [[0, 0, 0, 0]], [0.0]),  # touches the corner
        ([[14, 7, 14, 9]], [[8, 4, 8, 8]], [0.0]),  # nothing at all
    ],
    ids=['empty', 'inside', 'cut', 'outside', 'flat'],
)
def test_boxes_are_clipped_to_the_crop(
    boxes: list[list[float]], expected: list[list[float]], visibility: list[float]
) -> None:
    crop = ResizedCrop((10, 5, 20, 15), (0, 0, 20, 20))
    mapped, fractions = transform_boxes(crop, np.array(boxes, np.float32).reshape(-1, 4))
    assert mapped.tolist() == expected
    assert fractions.tolist() == visibility
    assert mapped.shape == (len(boxes), 4)


def test_a_crop_beyond_the_image_leaves_the_canvas_free() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    crop = map_crop((10, 10), (-10.0, -5.0, 20.0, 25.0), (0, 0, 60, 60))
    assert crop == ResizedCrop((0, 0, 10, 10), (20, 10, 40, 30))
    canvas = np.full((60, 60, 3), 114, np.uint8)
    paste_crop(crop, image, canvas)
    assert (canvas[10:30, 20:40] == 200).all()
    assert (canvas == 200).sum() == 20 * 20 * 3


def test_a_crop_inside_the_image_fills_its_region() -> None:
    crop = map_crop((100, 100), (10.4, 20.6, 13.3, 50.0), (5, 5, 205, 305))
    assert crop == ResizedCrop((10, 21, 13, 50), (5, 5, 205, 305))
