"""Views: pixels and boxes go the same way."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import resize_frame, resize_transform
from mnssd_training.data.view import flip, render, tile_of, transform_boxes, View, view_of
import numpy as np
import pytest

EMPTY = np.zeros((0, 4), np.float32)
BEYOND = 40  # pixels that a window may reach beyond the image

sides = st.integers(1, 60)
sizes = st.tuples(sides, sides)
modes = st.sampled_from(['stretch', 'letterbox'])


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, int], View, tuple[int, int, int, int]]:
    """Draw the size of an image, a view of it, and the tile that it is in."""
    height, width = draw(sizes)
    part = st.floats(0, 1)
    x1, y1 = draw(part) * (width + BEYOND) - BEYOND, draw(part) * (height + BEYOND) - BEYOND
    x2 = max(x1, 0) + 0.1 + draw(part) * (width - max(x1, 0) + BEYOND)
    y2 = max(y1, 0) + 0.1 + draw(part) * (height - max(y1, 0) + BEYOND)
    left, top = draw(sides), draw(sides)
    tile = (left, top, left + draw(sides), top + draw(sides))
    view = view_of((height, width), (x1, y1, x2, y2), tile)
    return (height, width), flip(view, tile, x=draw(st.booleans()), y=draw(st.booleans())), tile


@settings(max_examples=200, deadline=None)
@given(views())
def test_both_ends_of_a_view_are_inside(
    case: tuple[tuple[int, int], View, tuple[int, int, int, int]],
) -> None:
    (height, width), view, tile = case
    x1, y1, x2, y2 = view.window
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    left, top, right, bottom = view.place
    assert tile[0] <= left < right <= tile[2]
    assert tile[1] <= top < bottom <= tile[3]
    boxes, visible = transform_boxes(view, np.array([[0, 0, width, height], view.window]))
    np.testing.assert_allclose(boxes, [view.place, view.place])
    area = (x2 - x1) * (y2 - y1)
    np.testing.assert_allclose(visible, [area / (width * height), 1.0])


@settings(max_examples=100, deadline=None)
@given(views())
def test_turning_twice_is_not_turning(
    case: tuple[tuple[int, int], View, tuple[int, int, int, int]],
) -> None:
    _, view, tile = case
    for x, y in [(True, False), (False, True), (True, True)]:
        turned = flip(view, tile, x=x, y=y)
        assert (turned.flip_x, turned.flip_y) == (view.flip_x ^ x, view.flip_y ^ y)
        assert flip(turned, tile, x=x, y=y) == view


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, modes)
def test_the_whole_photograph_is_what_the_drone_sees(
    source_size: tuple[int, int], input_size: tuple[int, int], mode: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*source_size, 3), np.uint8)
    plan = resize_transform(source_size, input_size, mode)
    window = (0.0, 0.0, float(source_size[1]), float(source_size[0]))
    view = view_of(source_size, window, tile_of(window, input_size, mode))
    canvas = np.full((*input_size, 3), 114, np.uint8)
    render(view, image, canvas)
    assert np.array_equal(canvas, resize_frame(image, plan))
    box = np.array([[0.2, 0.1, 0.7, 0.9]]) * (window[2:] * 2)
    fractions = transform_boxes(view, box)[0] / (input_size[::-1] * 2)
    np.testing.assert_allclose(fractions, plan.to_input(box), atol=1e-6)


def test_pixels_and_boxes_are_turned_together() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[2:7, 4:14] = 255
    view = View((0, 0, 30, 20), (10, 0, 40, 20))
    boxes = {
        (False, False): (14, 2, 24, 7),
        (True, False): (26, 2, 36, 7),
        (False, True): (14, 13, 24, 18),
        (True, True): (26, 13, 36, 18),
    }
    for (x, y), (left, top, right, bottom) in boxes.items():
        canvas = np.zeros((20, 50, 3), np.uint8)
        turned = replace(view, flip_x=x, flip_y=y)
        render(turned, image, canvas)
        expected = np.zeros_like(canvas)
        expected[top:bottom, left:right] = 255
        assert np.array_equal(canvas, expected)
        seen, visible = transform_boxes(turned, np.array([[4, 2, 14, 7]]))
        assert seen.tolist() == [[left, top, right, bottom]]
        assert visible.tolist() == [1.0]


@pytest.mark.parametrize(
    ('boxes', 'seen', 'visible'),
    [
        (EMPTY, [], []),
        ([[12, 6, 18, 8]], [[4, 2, 16, 6]], [1.0]),
        ([[0, 6, 20, 8]], [[0, 2, 20, 6]], [0.5]),  # cut on both sides
        ([[0, 0, 10, 5]], [[0, 0, 0, 0]], [0.0]),  # touches the corner
        ([[14, 7, 14, 9]], [[8, 4, 8, 8]], [0.0]),  # nothing at all
    ],
    ids=['empty', 'inside', 'cut', 'outside', 'flat'],
)
def test_boxes_are_cut_at_the_edges_of_the_window(
    boxes: list[list[float]], seen: list[list[float]], visible: list[float]
) -> None:
    view = View((10, 5, 20, 15), (0, 0, 20, 20))
    found, part = transform_boxes(view, np.array(boxes, np.float32).reshape(-1, 4))
    assert found.tolist() == seen
    assert part.tolist() == visible
    assert found.shape == (len(boxes), 4)


def test_what_lies_beyond_the_photograph_is_left_free() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    view = view_of((10, 10), (-10.0, -5.0, 20.0, 25.0), (0, 0, 60, 60))
    assert view == View((0, 0, 10, 10), (20, 10, 40, 30))
    canvas = np.full((60, 60, 3), 114, np.uint8)
    render(view, image, canvas)
    assert (canvas[10:30, 20:40] == 200).all()
    assert (canvas == 200).sum() == 20 * 20 * 3


def test_a_window_inside_the_photograph_fills_its_tile() -> None:
    view = view_of((100, 100), (10.4, 20.6, 13.3, 50.0), (5, 5, 205, 305))
    assert view == View((10, 21, 13, 50), (5, 5, 205, 305))
