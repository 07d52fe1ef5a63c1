"""Draw the crop of an image that is shown: zoom-out, IoU crop and large-scale jitter."""

from collections.abc import Sequence
import math

from mnssd_perception.ssd import boxes as box_ops
from mnssd_training.data.resized_crop import Box
import numpy as np
from numpy.typing import NDArray

TRIALS = 50  # as many as the authors of SSD make
MAX_ASPECT_RATIO = 2.0  # either way (Liu et al., SSD, section 2.2)
AROUND_OBJECT = 0.5  # probability of large-scale jitter around an object
MARGIN = 0.1  # of the crop, between the centre of that object and the edge


def zoom_out(crop: Box, max_scale: float, generator: np.random.Generator) -> Box:
    """
    Place a crop at random in a larger one of the same aspect ratio, also beyond the image.

    :param max_scale: largest side of the result, in sides of the crop.
    """
    x1, y1, x2, y2 = crop
    scale = generator.uniform(1.0, max_scale)
    width, height = (x2 - x1) * scale, (y2 - y1) * scale
    left = x1 - generator.random() * (width - (x2 - x1))
    top = y1 - generator.random() * (height - (y2 - y1))
    return left, top, left + width, top + height


def iou_crop(
    crop: Box,
    boxes: NDArray[np.floating],
    min_ious: Sequence[float],
    min_scale: float,
    generator: np.random.Generator,
) -> Box:
    """
    Draw a smaller crop around some object (Liu et al., SSD, ECCV 2016, section 2.2).

    The centre of some object lies in the crop, and its IoU with the crop is at least one of
    ``min_ious``, drawn among those that any of fifty crops reaches.

    :param boxes: ``(N, 4)`` xyxy, pixels of the image.
    :param min_ious: 1 or more stands for no crop.
    :param min_scale: smallest side of the result, in sides of the crop.
    :return: ``crop`` itself where there is no such crop.
    """
    origin, size = np.array(crop[:2]), np.subtract(crop[2:], crop[:2])
    sides = generator.uniform(min_scale, 1.0, (TRIALS, 2)) * size
    corners = origin + generator.random((TRIALS, 2)) * (size - sides)
    trials = np.concatenate((corners, corners + sides), axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((corners[:, None] < centres) & (centres < trials[:, None, 2:])).all(axis=2)
    best = np.where(inside, box_ops.box_iou(trials, boxes), -1.0).max(axis=1, initial=-1.0)
    best[np.abs(np.log(sides[:, 0] / sides[:, 1])) > math.log(MAX_ASPECT_RATIO)] = -1.0
    for min_iou in generator.permutation(np.asarray(min_ious, np.float64)):
        if min_iou >= 1:
            return crop
        valid = np.flatnonzero((best >= 0) & (best >= min_iou))
        if len(valid):
            x1, y1, x2, y2 = trials[valid[0]].tolist()
            return x1, y1, x2, y2
    return crop


def large_scale_jitter(
    image_size: tuple[int, int],
    boxes: NDArray[np.floating],
    region_size: tuple[int, int],
    base_scale: tuple[float, float],
    scale_range: tuple[float, float],
    max_aspect: float,
    generator: np.random.Generator,
    around_box: float = AROUND_OBJECT,
) -> Box:
    """
    Draw a scale, and then a crop that fills a region of the network input at that scale.

    Large-scale jitter (Ghiasi et al., Simple Copy-Paste, CVPR 2021) with a crop of fixed size.

    :param image_size: (height, width).
    :param boxes: ``(N, 4)`` xyxy, pixels of the image.
    :param region_size: (height, width), pixels of the network input.
    :param base_scale: (y, x) pixels of the network input per pixel of the image at scale 1.
    :param scale_range: the logarithm of the scale is drawn between these.
    :param max_aspect: largest stretch of one side relative to the other.
    :param around_box: probability of a crop around one of the boxes.
    :return: xyxy, pixels of the image, beyond which it may reach.
    """
    scale = math.exp(generator.uniform(math.log(scale_range[0]), math.log(scale_range[1])))
    stretch = math.exp(generator.uniform(-0.5, 0.5) * math.log(max_aspect))
    height = region_size[0] / (base_scale[0] * scale / stretch)
    width = region_size[1] / (base_scale[1] * scale * stretch)
    left = generator.random() * (image_size[1] - width)
    top = generator.random() * (image_size[0] - height)
    if len(boxes) and generator.random() < around_box:
        x1, y1, x2, y2 = boxes[generator.integers(len(boxes))].tolist()
        offset_x, offset_y = generator.uniform(MARGIN, 1 - MARGIN, 2)
        if width <= image_size[1]:
            left = min(max((x1 + x2) / 2 - width * offset_x, 0.0), image_size[1] - width)
        if height <= image_size[0]:
            top = min(max((y1 + y2) / 2 - height * offset_y, 0.0), image_size[0] - height)
    return left, top, left + width, top + height
