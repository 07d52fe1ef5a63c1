"""16-bit greys to 8 bits: the range that occurs fills the range that there is."""

from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from mnssd_perception.thermal import to_8bit
import numpy as np
import pytest


def test_a_single_grey_becomes_black() -> None:
    assert (to_8bit(np.full((4, 5), 21000, np.uint16)) == 0).all()


def test_a_small_range_is_stretched_to_all_greys() -> None:
    ramp = np.linspace(29000, 29500, 640 * 512).astype(np.uint16).reshape(512, 640)
    grey = to_8bit(ramp)
    assert grey.min() == 0
    assert grey.max() == 255
    assert (np.diff(grey.ravel().astype(int)) >= 0).all()


def test_a_few_hot_pixels_do_not_darken_the_image() -> None:
    image = np.tile(np.linspace(7000, 7400, 640).astype(np.uint16), (512, 1))
    image[:4, :4] = 65535
    assert to_8bit(image)[100].max() == 255
    assert int(to_8bit(image)[100, 320]) == pytest.approx(127, abs=3)


@pytest.mark.parametrize('order', ['<', '>'])
def test_byte_order_does_not_matter(order: str) -> None:
    image = np.arange(100, 4900, 3, np.uint16).reshape(40, 40)
    swapped = image.astype(np.dtype('u2').newbyteorder(order))
    np.testing.assert_array_equal(to_8bit(swapped), to_8bit(image))


def test_range_is_that_of_the_sorted_samples_but_for_one_in_a_thousand() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (300, 400)).astype(np.uint16)
    stride = 2  # 120 000 pixels are more than 65 536
    samples = np.sort(image[::stride, ::stride], axis=None).astype(float)
    cut = len(samples) // 1000
    low, high = samples[cut], samples[-1 - cut]
    expected = np.clip((image - low) * 255 / (high - low), 0, 255)
    assert np.abs(to_8bit(image) - expected).max() <= 0.51


@settings(deadline=None)
@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_any_image_keeps_its_shape_and_order(image: np.ndarray) -> None:
    grey = to_8bit(image)
    assert grey.shape == image.shape
    assert grey.dtype == np.uint8
    order = np.argsort(image, axis=None)
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()
