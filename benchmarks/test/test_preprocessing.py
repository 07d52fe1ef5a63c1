"""The frames that the preprocessing benchmark simulates, and the methods that it compares."""

from mnssd_perception.thermal import to_8bit
import numpy as np
import pytest

from benchmarks.preprocessing import RESIZE_METHODS, simulate_sensor, stretch_float


@pytest.mark.parametrize('name', RESIZE_METHODS)
def test_resize_methods_make_images_of_the_same_size(name: str) -> None:
    image = np.full((90, 120, 3), 77, np.uint8)
    assert (RESIZE_METHODS[name](image, (20, 30)) == 77).all()
    assert RESIZE_METHODS[name](image, (20, 30)).shape == (20, 30, 3)


def test_simulated_sensor_has_noise_in_each_pixel() -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    generator = np.random.default_rng(0)
    assert (simulate_sensor(image, 2.0, 0.0, generator) == 100).all()
    noisy = simulate_sensor(image, 2.5, 12.0, generator)
    assert noisy.shape == (50, 75, 3)
    assert 11 < noisy[..., 0].std() < 13
    assert (noisy == noisy[..., :1]).all()


def test_stretch_of_mnssd_0_1_gives_nearly_the_same() -> None:
    image = np.random.default_rng(0).normal(21_000, 90, (60, 80)).astype(np.uint16)
    assert np.abs(stretch_float(image)[..., 0].astype(int) - to_8bit(image)).max() <= 1
