"""Colour jitter against torchvision, on real images."""

from collections.abc import Callable
from typing import Any

import cv2
from mnssd_training.config import AugmentationConfig
from mnssd_training.data import Sample
from mnssd_training.data.color_jitter import (
    apply_color_jitter,
    ColorJitterParams,
    sample_color_jitter,
)
from mnssd_training.data.sample import load_image
import numpy as np
from numpy.typing import NDArray
import pytest
import torch
from torchvision.transforms.v2 import functional

Peer = Callable[[torch.Tensor], torch.Tensor]
RAMP = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)


@pytest.fixture(params=['thermal', 'false colours', 'dark', 'one colour', 'one pixel'])
def image(request: pytest.FixtureRequest, train_samples: list[Sample]) -> NDArray[np.uint8]:
    """A real image, as it is and changed."""
    thermal = load_image(train_samples[1])[::2, ::2]
    if request.param == 'thermal':
        return thermal.copy()
    if request.param == 'false colours':  # saturated, of every hue
        return cv2.applyColorMap(thermal, cv2.COLORMAP_HSV)
    if request.param == 'dark':
        return thermal // np.array([9, 5, 7], np.uint8)
    flat = np.full((7, 5, 3), (200, 30, 90), np.uint8)
    return flat if request.param == 'one colour' else flat[:1, :1].copy()


def check_agreement(
    image: NDArray[np.uint8], params: ColorJitterParams, peer: Peer, slack: int
) -> None:
    before = image.copy()
    ours = apply_color_jitter(image, params)
    theirs = peer(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert ours.dtype == np.uint8
    assert ours.shape == image.shape
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= slack
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ('params', 'peer'),
    [
        ({'invert': True}, functional.invert),
        ({'equalize': True}, functional.equalize),
        ({'brightness': 0.6}, lambda x: functional.adjust_brightness(x, 0.6)),
        ({'brightness': 1.5}, lambda x: functional.adjust_brightness(x, 1.5)),
        ({'contrast': 0.5}, lambda x: functional.adjust_contrast(x, 0.5)),
        ({'contrast': 1.5}, lambda x: functional.adjust_contrast(x, 1.5)),
        ({'saturation': 0.5}, lambda x: functional.adjust_saturation(x, 0.5)),
        ({'saturation': 1.5}, lambda x: functional.adjust_saturation(x, 1.5)),
        ({'saturation': 0.0}, lambda x: functional.adjust_saturation(x, 0.0)),
        ({'hue': 0.05}, lambda x: functional.adjust_hue(x, 0.05)),
        ({'hue': -0.31}, lambda x: functional.adjust_hue(x, -0.31)),
    ],
    ids=[
        'invert', 'equalize', 'darker', 'brighter', 'flatter', 'steeper', 'paler', 'richer',
        'grey', 'hue', 'hue back',
    ],
)  # fmt: skip
def test_each_operation_agrees_with_torchvision(
    image: NDArray[np.uint8], params: dict[str, Any], peer: Peer
) -> None:
    check_agreement(image, ColorJitterParams(**params), peer, slack=2)


def test_operations_are_applied_in_the_order_of_torchvision(train_samples: list[Sample]) -> None:
    image = cv2.applyColorMap(load_image(train_samples[1])[::2, ::2], cv2.COLORMAP_JET)
    f = functional

    def early(x: torch.Tensor) -> torch.Tensor:
        x = f.adjust_contrast(f.adjust_brightness(f.equalize(f.invert(x)), 1.1), 0.8)
        return f.adjust_hue(f.adjust_saturation(x, 0.9), 0.03)

    def late(x: torch.Tensor) -> torch.Tensor:
        x = f.adjust_saturation(f.adjust_brightness(f.equalize(f.invert(x)), 1.1), 0.9)
        return f.adjust_contrast(f.adjust_hue(x, 0.03), 0.8)

    params = (True, True, 1.1, 0.8, 0.9, 0.03)
    check_agreement(
        image, ColorJitterParams(*params), early, slack=4
    )  # one is rounded once, the other five times
    check_agreement(image, ColorJitterParams(*params, contrast_last=True), late, slack=4)


def test_identity_params_return_the_image_itself(image: NDArray[np.uint8]) -> None:
    assert apply_color_jitter(image, ColorJitterParams()) is image


def test_grey_images_stay_grey(train_samples: list[Sample]) -> None:
    grey = load_image(train_samples[0])
    config = AugmentationConfig(
        brightness=0.3, contrast=0.5, saturation=0, hue=0, invert=0.3, equalize=0.3
    )
    generator, means = np.random.default_rng(0), set()
    for _ in range(30):
        jittered = apply_color_jitter(grey, sample_color_jitter(config, generator))
        assert np.array_equal(jittered[..., 0], jittered[..., 1])
        assert np.array_equal(jittered[..., 0], jittered[..., 2])
        means.add(round(float(jittered.mean()), 3))
    assert len(means) > 20


def test_each_operation_is_drawn_half_of_the_time() -> None:
    config = AugmentationConfig(
        brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1, invert=0.25, equalize=0.0
    )
    generator = np.random.default_rng(1)
    draws = [sample_color_jitter(config, generator) for _ in range(400)]
    for name, most, middle in [
        ('brightness', 0.2, 1), ('contrast', 0.3, 1), ('saturation', 0.4, 1), ('hue', 0.1, 0),
    ]:  # fmt: skip
        shifts = np.array([getattr(params, name) - middle for params in draws])
        assert 0.4 < (shifts != 0).mean() < 0.6
        assert 0.95 * most < np.abs(shifts).max() <= most
        assert abs(shifts.mean()) < 0.1 * most
    assert 0.2 < np.mean([params.invert for params in draws]) < 0.3
    assert 0.4 < np.mean([params.contrast_last for params in draws]) < 0.6
    assert not any(params.equalize for params in draws)


def test_gamma_is_drawn_either_way_and_keeps_black_and_white() -> None:
    config = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue=0, gamma=2.0)
    generator = np.random.default_rng(1)
    gammas = np.array([sample_color_jitter(config, generator).gamma for _ in range(400)])
    assert 0.4 < (gammas != 1).mean() < 0.6
    assert 0.5 <= gammas.min() < 0.55
    assert 1.9 < gammas.max() <= 2.0
    assert abs(np.log(gammas).mean()) < 0.05
    expected = np.rint(255 * (np.arange(256) / 255) ** 0.5)
    assert np.array_equal(
        apply_color_jitter(RAMP, ColorJitterParams(gamma=0.5))[0, :, 0], expected
    )


def test_zero_limits_change_nothing() -> None:
    config = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue=0)
    params = sample_color_jitter(config, np.random.default_rng(2))
    assert apply_color_jitter(RAMP, params) is RAMP
