"""Sizes and boxes of an image to the window of it that is shown: zoom-out, crop, jitter."""

from collections.abc import Sequence
import math

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_training.data.view import Window
import numpy as np
from numpy.typing import NDArray

TRIES = 50  # of a crop: as many as the authors of SSD make
MAX_ASPECT = 2.0  # of a crop, either way (Liu et al., SSD, section 2.2)
AROUND_OBJECT = 0.5  # part of the jittered windows; the rest lies anywhere
MARGIN = 0.1  # in windows, between the centre of that object and the edge


def whole(size: tuple[int, int]) -> Window:
    """
    Show the image as it is.

    :param size: (height, width) of the image.
    :return: xyxy, pixels of the image.
    """
    return 0.0, 0.0, float(size[1]), float(size[0])


def zoomed_out(window: Window, max_side: float, generator: np.random.Generator) -> Window:
    """
    Put a window somewhere into a larger one of its shape.

    :param window: xyxy, pixels of the image.
    :param max_side: largest side, in sides of the window.
    :param generator: of the draw.
    :return: xyxy, pixels of the image, beyond which it may reach.
    """
    x1, y1, x2, y2 = window
    ratio = generator.uniform(1.0, max_side)
    width, height = (x2 - x1) * ratio, (y2 - y1) * ratio
    left = x1 - generator.random() * (width - (x2 - x1))
    top = y1 - generator.random() * (height - (y2 - y1))
    return left, top, left + width, top + height


def iou_crop(
    window: Window,
    boxes: NDArray[np.floating],
    ious: Sequence[float],
    min_side: float,
    generator: np.random.Generator,
) -> Window:
    """
    Cut a smaller window around some object (Liu et al., SSD, ECCV 2016, section 2.2).

    The centre of some object lies in the crop, and its IoU with the crop is at least one of
    ``ious``: that is drawn among those that any of fifty crops reaches.

    :param window: xyxy, pixels of the image.
    :param boxes: ``(N, 4)`` xyxy, pixels of the image.
    :param ious: what to draw from; 1 or more stands for no crop.
    :param min_side: smallest side of a crop, in sides of the window.
    :param generator: of the draw.
    :return: xyxy, pixels of the image; ``window`` itself where there is no such crop.
    """
    origin, full = np.array(window[:2]), np.subtract(window[2:], window[:2])
    sides = generator.uniform(min_side, 1.0, (TRIES, 2)) * full
    corners = origin + generator.random((TRIES, 2)) * (full - sides)
    crops = np.concatenate((corners, corners + sides), axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((corners[:, None] < centres) & (centres < crops[:, None, 2:])).all(axis=2)
    best = np.where(inside, boxes_of.box_iou(crops, boxes), -1.0).max(axis=1, initial=-1.0)
    best[np.abs(np.log(sides[:, 0] / sides[:, 1])) > math.log(MAX_ASPECT)] = -1.0
    for wanted in generator.permutation(np.asarray(ious, np.float64)):
        if wanted >= 1:
            return window
        reaching = np.flatnonzero((best >= 0) & (best >= wanted))
        if len(reaching):
            x1, y1, x2, y2 = crops[reaching[0]].tolist()
            return x1, y1, x2, y2
    return window


def large_scale_jitter(
    size: tuple[int, int],
    boxes: NDArray[np.floating],
    tile_size: tuple[int, int],
    unit: tuple[float, float],
    scales: tuple[float, float],
    max_aspect: float,
    generator: np.random.Generator,
) -> Window:
    """
    Draw a scale, and then a window that fills a tile at that scale.

    Large-scale jitter (Ghiasi et al., Simple Copy-Paste, CVPR 2021) with a crop of fixed size.

    :param size: (height, width) of the image.
    :param boxes: ``(N, 4)`` xyxy, pixels of the image; half of the windows are around one.
    :param tile_size: (height, width), pixels of the network input.
    :param unit: (y, x) pixels of the network input a pixel of the image at scale 1.
    :param scales: smallest and largest scale; its logarithm is drawn.
    :param max_aspect: largest stretch of one side beside the other.
    :param generator: of the draw.
    :return: xyxy, pixels of the image, beyond which it may reach.
    """
    scale = math.exp(generator.uniform(math.log(scales[0]), math.log(scales[1])))
    stretch = math.exp(generator.uniform(-0.5, 0.5) * math.log(max_aspect))
    height = tile_size[0] / (unit[0] * scale / stretch)
    width = tile_size[1] / (unit[1] * scale * stretch)
    left = generator.random() * (size[1] - width)
    top = generator.random() * (size[0] - height)
    if len(boxes) and generator.random() < AROUND_OBJECT:
        x1, y1, x2, y2 = boxes[generator.integers(len(boxes))].tolist()
        offset_x, offset_y = generator.uniform(MARGIN, 1 - MARGIN, 2)
        if width <= size[1]:
            left = min(max((x1 + x2) / 2 - width * offset_x, 0.0), size[1] - width)
        if height <= size[0]:
            top = min(max((y1 + y2) / 2 - height * offset_y, 0.0), size[0] - height)
    return left, top, left + width, top + height
