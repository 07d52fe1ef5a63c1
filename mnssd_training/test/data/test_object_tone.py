"""Changed contrast of objects: where, how much, and that the polarity stays."""

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.data.object_tone import scale_contrast
import numpy as np
from numpy.typing import NDArray
import pytest

GROUND = 100


def scene(level: int, box: tuple[int, int, int, int] = (20, 10, 32, 26)) -> NDArray[np.uint8]:
    """Paint the middle of a box on even ground."""
    image = np.full((48, 64, 3), GROUND, np.uint8)
    x1, y1, x2, y2 = box
    image[max(y1 + 2, 0) : max(y2 - 2, 0), max(x1 + 2, 0) : max(x2 - 2, 0)] = level
    return image


def scaled(image: NDArray[np.uint8], boxes: object, *factors: float) -> NDArray[np.uint8]:
    changed = image.copy()
    scale_contrast(changed, np.array(boxes, np.float32).reshape(-1, 4), np.array(factors))
    return changed


def test_no_objects() -> None:
    assert np.array_equal(scaled(scene(180), []), scene(180))


@pytest.mark.parametrize(
    ('level', 'factor', 'expected'), [(180, 0.5, 140), (60, 1.5, 40), (180, 3.0, 255)]
)
def test_contrast_with_the_ground_is_scaled(level: int, factor: float, expected: int) -> None:
    image = scene(level)
    changed = scaled(image, [(20, 10, 32, 26)], factor)
    assert (changed[16:20, 24:28] == expected).all()  # the middle
    assert (changed[image == GROUND] == GROUND).all()  # no trace of the box


@pytest.mark.parametrize('factor', [0.0, 0.3, 2.0])
def test_colours_are_scaled_on_their_own(factor: float) -> None:
    image = scene(100)
    image[12:24, 22:30] = (140, 120, 100)
    expected = 100 + factor * np.array([40, 20, 0])
    assert (scaled(image, [(20, 10, 32, 26)], factor)[18, 26] == expected).all()


@given(
    seed=st.integers(0, 1000),
    x=st.integers(-5, 60),
    y=st.integers(-5, 44),
    factor=st.floats(0.05, 3.0),
)
def test_polarity_stays(seed: int, x: int, y: int, factor: float) -> None:
    generator = np.random.default_rng(seed)
    box = (x, y, x + int(generator.integers(1, 20)), y + int(generator.integers(1, 20)))
    image = scene(180, box)
    changed = scaled(image, [box], factor)
    assert (changed[image > GROUND] >= GROUND).all()
    assert (changed[image <= GROUND] == GROUND).all()


def test_ring_leaves_out_other_objects() -> None:
    """Warm objects side by side are no ground for each other."""
    boxes = [(10 + 12 * i, 10, 22 + 12 * i, 26) for i in range(4)]
    image = np.full((48, 64, 3), GROUND, np.uint8)
    image[10:26, 10:58] = 200
    changed = scaled(image, boxes, 0.5, 0.5, 0.5, 0.5)
    assert (changed[18, 12:56] == 150).all()


def test_pixel_in_two_boxes_gets_their_mean() -> None:
    box = (20, 10, 32, 26)
    assert (scaled(scene(180), [box, box], 0.5, 1.0)[18, 26] == 160).all()


def test_object_that_fills_the_image_is_left_alone() -> None:
    assert np.array_equal(scaled(scene(180), [(-5, -5, 70, 60)], 0.5), scene(180))
