"""
Jitter the colours of an image: photometric distortion of SSD, gamma, inversion, equalisation.

Liu et al., SSD, ECCV 2016, section 2.2, after Howard, arXiv:1312.5402. The operations on single
channels are composed into one lookup table; the means and histograms that they need are those of
the image, passed through the table so far.
"""

from dataclasses import dataclass

import cv2
from mnssd_training.config.sections import AugmentationConfig
import numpy as np
from numpy.typing import NDArray

LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601, of red, green and blue
PROBABILITY = 0.5  # of each change that is configured
IDENTITY = np.arange(256, dtype=np.float32)[:, None].repeat(3, axis=1)

Table = NDArray[np.float32]  # (256, 3): output level of each input level, by channel


@dataclass(frozen=True)
class ColorJitterParams:
    """
    Colour operations in the order in which they are applied.

    :ivar brightness: factor, as contrast and saturation.
    :ivar hue: shift in turns, -0.5 to 0.5.
    :ivar gamma: exponent of levels relative to 255.
    :ivar contrast_last: adjust the contrast after saturation and hue.
    """

    invert: bool = False
    equalize: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_last: bool = False
    gamma: float = 1.0


def sample_color_jitter(
    config: AugmentationConfig, generator: np.random.Generator
) -> ColorJitterParams:
    """Draw the colour operations of one image."""
    invert, equalize, last, *draws = generator.random(7).tolist()
    limits = (config.brightness, config.contrast, config.saturation, config.hue)
    shifts = generator.uniform(-1.0, 1.0, 4) * limits * (np.array(draws) < PROBABILITY)
    brightness, contrast, saturation, hue = shifts.tolist()
    return ColorJitterParams(
        invert=invert < config.invert,
        equalize=equalize < config.equalize,
        brightness=1 + brightness,
        contrast=1 + contrast,
        saturation=1 + saturation,
        hue=hue,
        contrast_last=last < PROBABILITY,
        gamma=_draw_gamma(config.gamma, generator),
    )


def _draw_gamma(max_gamma: float, generator: np.random.Generator) -> float:
    draw, exponent = generator.random(), generator.uniform(-1.0, 1.0)
    return float(max_gamma**exponent) if draw < PROBABILITY else 1.0


def apply_color_jitter(image: NDArray[np.uint8], params: ColorJitterParams) -> NDArray[np.uint8]:
    """Change the colours of ``(H, W, 3)`` uint8 RGB; return ``image`` itself if none changes."""
    mixes_channels = params.saturation != 1 or params.hue != 0
    contrast_last = mixes_channels and params.contrast_last and params.contrast != 1
    histogram = None
    if params.equalize or (params.contrast != 1 and not contrast_last):
        histogram = _histogram(image)
    table = IDENTITY
    if params.invert:
        table = 255 - table
    if params.equalize and histogram is not None:
        table = _equalize(table, histogram)
    if params.gamma != 1:
        table = 255 * np.power(table / 255, params.gamma, dtype=np.float32)
    if params.brightness != 1:
        table = np.clip(table * params.brightness, 0, 255)
    if params.contrast != 1 and histogram is not None and not contrast_last:
        table = _adjust_contrast(table, histogram, params.contrast)
    image = _apply_table(image, table)
    if params.saturation != 1:
        matrix = np.eye(3) * params.saturation + (1 - params.saturation) * LUMA
        image = cv2.transform(image, matrix.astype(np.float32))
    if params.hue != 0:
        image = _adjust_hue(image, params.hue)
    if contrast_last:
        table = _adjust_contrast(IDENTITY, _histogram(image), params.contrast)
        image = _apply_table(image, table)
    return image


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Count the levels of each channel, ``(256, 3)``."""
    return np.column_stack([cv2.calcHist([image], [c], None, [256], [0, 256]) for c in range(3)])


def _equalize(table: Table, histogram: NDArray[np.float32]) -> Table:
    """Equalise each channel; the table holds whole levels, ``histogram`` is that before it."""
    equalized = np.empty_like(table)
    for channel in range(3):
        levels = table[:, channel].astype(np.int64)
        counts = np.zeros(256, np.int64)
        np.add.at(counts, levels, histogram[:, channel].astype(np.int64))
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1:]].sum()) // 255
        below = np.cumsum(counts) - counts
        new_levels = np.minimum((below + step // 2) // step, 255) if step else np.arange(256)
        equalized[:, channel] = new_levels[levels]
    return equalized


def _adjust_contrast(table: Table, histogram: NDArray[np.float32], factor: float) -> Table:
    """Scale the distance from the mean grey level; ``histogram`` is that before the table."""
    means = (table * histogram).sum(axis=0) / histogram.sum(axis=0)
    return np.clip(table * factor + (1 - factor) * float(means @ LUMA), 0, 255)


def _apply_table(image: NDArray[np.uint8], table: Table) -> NDArray[np.uint8]:
    if table is IDENTITY:
        return image
    levels = np.rint(table).astype(np.uint8)
    if (levels == levels[:, :1]).all():  # one table for all channels takes half the time
        return cv2.LUT(image, np.ascontiguousarray(levels[:, 0]))
    return cv2.LUT(image, levels.reshape(1, 256, 3))


def _adjust_hue(image: NDArray[np.uint8], turns: float) -> NDArray[np.uint8]:
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + turns * 360.0, 360.0)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).astype(np.uint8)
