"""Blur and sensor noise."""

from mnssd_training.data.camera_noise import random_blur, random_noise
import numpy as np
import pytest

GREY = np.full((60, 80, 3), 100, np.uint8)
EDGE = np.repeat(np.uint8([0, 200]), 40)[None, :, None].repeat(60, axis=0).repeat(3, axis=2)


@pytest.mark.parametrize('change', [random_blur, random_noise])
def test_zero_changes_nothing_and_draws_nothing(change: object) -> None:
    generator = np.random.default_rng(0)
    assert callable(change)
    assert change(GREY, 0.0, generator) is GREY
    assert generator.random() == np.random.default_rng(0).random()


def test_noise_has_its_deviation_and_keeps_grey() -> None:
    generator = np.random.default_rng(1)
    images = [random_noise(GREY, 8.0, generator) for _ in range(200)]
    changed = [image for image in images if image is not GREY]
    assert 70 < len(changed) < 130
    deviations = [image[..., 0].std() for image in changed]
    assert max(deviations) < 8.5
    assert 3 < np.mean(deviations) < 5
    assert all(abs(image.mean() - 100) < 0.7 for image in changed)
    assert all((image == image[..., :1]).all() for image in changed)


def test_noise_saturates() -> None:
    generator = np.random.default_rng(2)
    images = [random_noise(np.full((9, 9, 3), 255, np.uint8), 50.0, generator) for _ in range(9)]
    assert all(image.min() > 80 for image in images)  # 255 + 1 is not 0


def test_blur_smooths_edges_only() -> None:
    generator = np.random.default_rng(3)
    images = [random_blur(EDGE, 2.0, generator) for _ in range(100)]
    changed = [image for image in images if image is not EDGE]
    assert 30 < len(changed) < 70
    widths = [int((np.diff(image[30, :, 0].astype(int)) > 0).sum()) for image in changed]
    assert 1 <= min(widths) < 5 < max(widths) < 20
    assert all((image[:, :25] == 0).all() and (image[:, 55:] == 200).all() for image in changed)
    assert all(np.array_equal(random_blur(GREY, 2.0, generator), GREY) for _ in range(4))
