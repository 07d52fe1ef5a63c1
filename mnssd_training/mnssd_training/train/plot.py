"""A learning-rate range test to an image."""

import cv2
from mnssd_training.train.find_lr import LrRangeTest
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 50, 60
INK, GRID, FAINT = (40, 40, 40), (225, 225, 225), (190, 200, 215)
CURVE, MARK = (30, 90, 180), (200, 60, 30)


def plot(test: LrRangeTest) -> NDArray[np.uint8]:
    """
    Draw the loss over the learning rate.

    :param test: the curve.
    :return: ``(600, 960, 3)`` uint8 RGB.
    """
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    low, high = np.log10(test.rates[[0, -1]])
    bottom, top = (
        0.0,
        max(float(np.percentile(test.losses, 98)), float(test.smoothed.max())) * 1.05,
    )

    def points(losses: NDArray[np.float64]) -> NDArray[np.int32]:
        x = LEFT + (np.log10(test.rates) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (losses - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return np.stack((x, y.clip(TOP, HEIGHT - BOTTOM)), axis=1).round().astype(np.int32)

    for exponent in range(int(np.ceil(low)), int(np.floor(high)) + 1):
        x = round(LEFT + (exponent - low) / (high - low) * (WIDTH - LEFT - RIGHT))
        cv2.line(image, (x, TOP), (x, HEIGHT - BOTTOM), GRID, 1)
        _write(image, f'1e{exponent}', (x - 18, HEIGHT - BOTTOM + 24))
    for loss in np.linspace(bottom, top, 6):
        y = round(HEIGHT - BOTTOM - (loss - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM))
        cv2.line(image, (LEFT, y), (WIDTH - RIGHT, y), GRID, 1)
        _write(image, f'{loss:.3g}', (12, y + 5))
    cv2.polylines(image, [points(test.losses)], False, FAINT, 1, cv2.LINE_AA)
    cv2.polylines(image, [points(test.smoothed)], False, CURVE, 2, cv2.LINE_AA)
    index = int(np.abs(test.rates - test.suggestion).argmin())
    at = points(test.smoothed)[index]
    cv2.circle(image, (int(at[0]), int(at[1])), 7, MARK, -1, cv2.LINE_AA)
    _write(image, f'loss over learning rate; steepest at {test.suggestion:.2e}', (LEFT, 30))
    return image


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    """Write small letters."""
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
