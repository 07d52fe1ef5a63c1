"""Imitate a camera: blur of the optics before the tones change, noise of the sensor after it."""

import cv2
from mnssd_training.data.color_jitter import PROBABILITY
import numpy as np
from numpy.typing import NDArray


def random_blur(
    image: NDArray[np.uint8], max_sigma: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """
    Blur half of the images ``(H, W, 3)``; the others are returned themselves.

    :param max_sigma: largest standard deviation of the Gaussian, pixels.
    """
    if not max_sigma or generator.random() >= PROBABILITY:
        return image
    sigma = max_sigma * (1 - generator.random())  # never 0
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def random_noise(
    image: NDArray[np.uint8], max_std: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """
    Add white noise to half of the images ``(H, W, 3)``; the others are returned themselves.

    The noise is equal in all channels: grey images stay grey.

    :param max_std: largest standard deviation, levels.
    """
    if not max_std or generator.random() >= PROBABILITY:
        return image
    std = np.float32(max_std * generator.random())
    noise = generator.standard_normal(image.shape[:2], np.float32) * std
    return np.asarray(cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U), np.uint8)
