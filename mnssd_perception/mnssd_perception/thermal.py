"""Convert 16-bit grey images to 8 bits."""

from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

# Share of the pixels cut off at either end: a hot engine or a dead pixel shall not take the
# whole range of greys and leave the ground black.
CLIPPED_SHARE = 0.001

NUM_SAMPLES = 65536  # the range is measured on this many pixels at most


def to_8bit(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """
    Stretch the greys that occur in a 16-bit image to 8 bits.

    Radiometric thermal cameras fill a few hundred of the 65536 greys, and which ones depends on
    the weather, so dividing by 256 would leave a black image. Each image is stretched by itself,
    from its darkest to its brightest greys but for one in a thousand at either end; this is what
    the automatic gain of an 8-bit thermal camera does.

    :param image: ``(H, W)`` uint16 in either byte order, not empty.
    :return: ``(H, W)`` uint8; all 0 when the image has a single grey.
    """
    image = image.astype(np.uint16, copy=False)  # in the byte order of this machine
    stride = max(1, ceil((image.size / NUM_SAMPLES) ** 0.5))
    samples = image[::stride, ::stride].ravel()
    counts = np.cumsum(np.bincount(samples))  # sorting would take ten times as long
    cut = int(CLIPPED_SHARE * len(samples))
    low, high = np.searchsorted(counts, (cut, len(samples) - 1 - cut), side='right').tolist()
    # Both steps saturate. OpenCV takes an image of four pixels for the four numbers of a scalar.
    above = cv2.subtract(image, (low,) * 4, dtype=cv2.CV_16U)
    return cv2.convertScaleAbs(above, alpha=255 / max(high - low, 1))
