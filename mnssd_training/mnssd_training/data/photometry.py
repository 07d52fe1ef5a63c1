"""
Colours of an image to other colours: the photometric distortion of SSD, and thermal tones.

Liu et al., SSD, ECCV 2016, section 2.2, after Howard, arXiv:1312.5402. What changes each channel
by itself is composed to one lookup table; the means and histograms that it needs are those of the
image, seen through the table so far.
"""

from dataclasses import dataclass

import cv2
from mnssd_training.config.augmentation import AugmentationConfig
import numpy as np
from numpy.typing import NDArray

LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601, of red, green and blue
PROBABILITY = 0.5  # of each change that is configured
DEGREES = 360.0  # a turn of the hue
LEVELS = np.arange(256, dtype=np.float32)[:, None].repeat(3, axis=1)


@dataclass(frozen=True)
class ColorJitterParams:
    """
    What happens to the colours of an image, in this order.

    :ivar invert: make a negative.
    :ivar equalize: spread the histogram of each channel.
    :ivar brightness: factor.
    :ivar contrast: factor of the distance from the mean grey.
    :ivar saturation: factor of the distance from grey.
    :ivar hue: shift, turns.
    :ivar contrast_last: change the contrast after saturation and hue, not before.
    """

    invert: bool = False
    equalize: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_last: bool = False


def sample_color_jitter(
    config: AugmentationConfig, generator: np.random.Generator
) -> ColorJitterParams:
    """
    Draw what happens to the colours of an image.

    :param config: what may happen.
    :param generator: of the draw.
    :return: what happens.
    """
    invert, equalize, last, *draws = generator.random(7).tolist()
    changes = (config.brightness, config.contrast, config.saturation, config.hue)
    shifts = generator.uniform(-1.0, 1.0, 4) * changes * (np.array(draws) < PROBABILITY)
    brightness, contrast, saturation, hue = shifts.tolist()
    return ColorJitterParams(
        invert=invert < config.invert,
        equalize=equalize < config.equalize,
        brightness=1 + brightness,
        contrast=1 + contrast,
        saturation=1 + saturation,
        hue=hue,
        contrast_last=last < PROBABILITY,
    )


def apply_color_jitter(image: NDArray[np.uint8], tones: ColorJitterParams) -> NDArray[np.uint8]:
    """
    Change the colours of an image.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param tones: what happens.
    :return: ``(height, width, 3)`` uint8 RGB; ``image`` itself if nothing does.
    """
    has_colour = tones.saturation != 1 or tones.hue != 0
    is_late = has_colour and tones.contrast_last and tones.contrast != 1
    histogram = None
    if tones.equalize or (tones.contrast != 1 and not is_late):
        histogram = _histogram(image)
    curve = LEVELS
    if tones.invert:
        curve = 255 - curve
    if tones.equalize and histogram is not None:
        curve = _equalised(curve, histogram)
    if tones.brightness != 1:
        curve = np.clip(curve * tones.brightness, 0, 255)
    if tones.contrast != 1 and histogram is not None and not is_late:
        curve = _contrasted(curve, histogram, tones.contrast)
    image = _through(image, curve)
    if tones.saturation != 1:
        matrix = np.eye(3) * tones.saturation + (1 - tones.saturation) * LUMA
        image = cv2.transform(image, matrix.astype(np.float32))
    if tones.hue != 0:
        image = _hue_shifted(image, tones.hue)
    if is_late:
        image = _through(image, _contrasted(LEVELS, _histogram(image), tones.contrast))
    return image


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Count the levels of each channel, ``(256, 3)``."""
    channels = [cv2.calcHist([image], [c], None, [256], [0, 256]) for c in range(3)]
    return np.concatenate([channel.reshape(256, 1) for channel in channels], axis=1)


def _equalised(curve: NDArray[np.float32], histogram: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Spread the levels of each channel, so that each is met about as often.

    :param curve: ``(256, 3)``, whole levels.
    :param histogram: ``(256, 3)`` of the image before the curve.
    :return: ``(256, 3)``.
    """
    spread = np.empty_like(curve)
    for channel in range(3):
        levels = curve[:, channel].astype(np.int64)
        counts = np.zeros(256, np.int64)
        np.add.at(counts, levels, histogram[:, channel].astype(np.int64))
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1:]].sum()) // 255
        below = np.cumsum(counts) - counts
        table = np.minimum((below + step // 2) // step, 255) if step else np.arange(256)
        spread[:, channel] = table[levels]
    return spread


def _contrasted(
    curve: NDArray[np.float32], histogram: NDArray[np.float32], factor: float
) -> NDArray[np.float32]:
    """
    Change the distance from the mean grey.

    :param curve: ``(256, 3)``.
    :param histogram: ``(256, 3)`` of the image before the curve.
    :param factor: of the distance.
    :return: ``(256, 3)``.
    """
    means = (curve * histogram).sum(axis=0) / histogram.sum(axis=0)
    return np.clip(curve * factor + (1 - factor) * float(means @ LUMA), 0, 255)


def _through(image: NDArray[np.uint8], curve: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Look every level up."""
    if curve is LEVELS:
        return image
    table = np.rint(curve).astype(np.uint8)
    if (table == table[:, :1]).all():  # half the time
        return cv2.LUT(image, np.ascontiguousarray(table[:, 0]))
    return cv2.LUT(image, table.reshape(1, 256, 3))


def _hue_shifted(image: NDArray[np.uint8], turns: float) -> NDArray[np.uint8]:
    """Turn the hue."""
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + turns * DEGREES, DEGREES)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).astype(np.uint8)
