"""
Samples to what the network sees in training.

What is shown of which images is drawn from sizes and boxes alone; then each image is
read and resampled once, and the colours of the whole are changed. Without augmentation the
network sees what it sees on the drone, to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
from mnssd_perception.ssd import ModelSpec, resize_transform
from mnssd_perception.ssd.resize import PADDING
from mnssd_training.config.augmentation import AugmentationConfig
from mnssd_training.data.photometry import apply_color_jitter, sample_color_jitter
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.data.view import flip, render, tile_of, transform_boxes, View, view_of
from mnssd_training.data.windows import iou_crop, large_scale_jitter, whole, zoomed_out
import numpy as np
from numpy.typing import NDArray

UNCHANGED = AugmentationConfig(
    zoom_out=0, iou_crop=0, horizontal_flip=0, brightness=0, contrast=0, saturation=0, hue=0
)
SLIVER = 1e-3  # pixels; what is thinner is gone
MOSAIC_CENTRE = (0.25, 0.75)  # where the four meet, in sides of the input
MOSAIC_SCALES = (0.5, 1.0)  # of the four, where no jitter says otherwise
MIXUP_BETA = 8.0  # of the shares of two blended images: both stay visible

Shown = list[tuple[Sample, View]]


@dataclass(frozen=True)
class NetworkSample:
    """
    An image as the network sees it.

    :ivar image: ``(height, width, 3)`` uint8 RGB of the input size.
    :ivar boxes: ``(N, 4)`` float32 xyxy, fractions of the input.
    :ivar labels: ``(N,)`` int64.
    :ivar ignore: ``(M, 4)`` float32 xyxy, fractions of the input.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float32]


def augment(
    samples: Sequence[Sample],
    index: int,
    spec: ModelSpec,
    size: tuple[int, int],
    config: AugmentationConfig | None,
    generator: np.random.Generator,
) -> NetworkSample:
    """
    Show an image to the network in training.

    :param samples: the training set, which mosaic and mixup take partners from.
    :param index: of the image.
    :param spec: the model; at scale 1, jitter shows what it sees at its own input size.
    :param size: (height, width) of the network input, pixels.
    :param config: what may happen; None for what the drone sees.
    :param generator: of all draws.
    :return: what the network sees.
    :raises DatasetError: if an image cannot be read.
    """
    config = config or UNCHANGED
    layers = [_arrange(samples, index, spec, size, config, generator)]
    share = 1.0
    if generator.random() < config.mixup:
        partner = int(generator.integers(len(samples)))
        layers.append(_arrange(samples, partner, spec, size, config, generator))
        share = generator.beta(MIXUP_BETA, MIXUP_BETA)
    tones = sample_color_jitter(config, generator)
    image, *others = [_paint(shown, size) for shown in layers]
    for other in others:
        image = cv2.addWeighted(image, share, other, 1 - share, 0)
    boxes, labels, ignore = _annotate([pair for shown in layers for pair in shown], size, config)
    return NetworkSample(apply_color_jitter(image, tones), boxes, labels, ignore)


def _arrange(
    samples: Sequence[Sample],
    index: int,
    spec: ModelSpec,
    size: tuple[int, int],
    config: AugmentationConfig,
    generator: np.random.Generator,
) -> Shown:
    """Draw what is shown of which images, and where."""
    sample, (height, width) = samples[index], size
    if generator.random() >= config.mosaic:
        return [(sample, _draw_view(sample, spec, (0, 0, width, height), size, config, generator))]
    y, x = (
        min(max(round(generator.uniform(*MOSAIC_CENTRE) * side), 1), side - 1) for side in size
    )
    corners = product(((0, y), (y, height)), ((0, x), (x, width)))
    tiles = [(left, top, right, bottom) for (top, bottom), (left, right) in corners]
    partners = [sample, *(samples[i] for i in generator.integers(len(samples), size=3))]
    return [
        (partner, _draw_view(partner, spec, tile, size, config, generator))
        for partner, tile in zip(partners, tiles)
        if tile[0] < tile[2] and tile[1] < tile[3]  # an input of one pixel has no quarters
    ]


def _draw_view(
    sample: Sample,
    spec: ModelSpec,
    tile: tuple[int, int, int, int],
    size: tuple[int, int],
    config: AugmentationConfig,
    generator: np.random.Generator,
) -> View:
    """Draw what is shown of one image in a tile of the network input."""
    tile_size = (tile[3] - tile[1], tile[2] - tile[0])
    area, has_jitter = tile, generator.random() < config.large_scale_jitter
    if has_jitter or tile_size != size:
        scales = config.large_scale_jitter_range if has_jitter else MOSAIC_SCALES
        seen_at = resize_transform(
            sample.size, spec.input_size if has_jitter else size, spec.resize
        )
        unit = (
            seen_at.content_size[0] / sample.size[0],
            seen_at.content_size[1] / sample.size[1],
        )
        window = large_scale_jitter(
            sample.size,
            sample.boxes,
            tile_size,
            unit,
            scales,
            config.large_scale_jitter_max_aspect,
            generator,
        )
    else:
        window = whole(sample.size)
        if generator.random() < config.zoom_out:
            window = zoomed_out(window, config.zoom_out_max_scale, generator)
        if generator.random() < config.iou_crop:
            window = iou_crop(
                window,
                sample.boxes,
                config.iou_crop_min_ious,
                config.iou_crop_min_scale,
                generator,
            )
        area = tile_of(window, size, spec.resize)
    flip_x, flip_y = generator.random(2) < (config.horizontal_flip, config.vertical_flip)
    return flip(view_of(sample.size, window, area), tile, x=bool(flip_x), y=bool(flip_y))


def _paint(shown: Shown, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read and resample the images, ``(height, width, 3)`` uint8 RGB."""
    canvas = np.empty((*size, 3), np.uint8)
    places = [view.place for _, view in shown]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in places)
    if covered < size[0] * size[1]:
        canvas.fill(PADDING)
    for sample, view in shown:
        render(view, load_image(sample), canvas)
    return canvas


def _annotate(
    shown: Shown, size: tuple[int, int], config: AugmentationConfig
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """
    Find the objects and the ignore regions of what is shown, fractions of the input.

    An object of which too little is in view, or that is too small, becomes an ignore region: too
    little to learn from, too much to be background.
    """
    boxes, labels, ignore = [], [], []
    for sample, view in shown:
        seen, visible = transform_boxes(view, sample.boxes)
        sides = seen[:, 2:] - seen[:, :2]
        is_clear = (visible >= config.min_visibility) & (sides > config.min_box_size).all(axis=1)
        regions, _ = transform_boxes(view, sample.ignore)
        boxes.append(seen[is_clear])
        labels.append(sample.labels[is_clear])
        ignore += [seen[~is_clear], regions]
    target, hidden = np.concatenate(boxes), np.concatenate(ignore)
    hidden = hidden[(hidden[:, 2:] - hidden[:, :2] > SLIVER).all(axis=1)]
    scale = np.array(size[::-1] * 2, np.float64)
    return (
        (target / scale).astype(np.float32),
        np.concatenate(labels),
        (hidden / scale).astype(np.float32),
    )
