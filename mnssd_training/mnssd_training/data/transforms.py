"""
Turn samples into network inputs for training.

The crops are drawn from sizes and boxes alone; then each image is read and resampled once, and
the colours of the network input are jittered. Without augmentation, the network input equals that
on the drone to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
from mnssd_perception.ssd import ModelSpec, resize_transform
from mnssd_perception.ssd.resize import PADDING
from mnssd_training.config.sections import AugmentationConfig
from mnssd_training.data.camera_noise import random_blur, random_noise
from mnssd_training.data.color_jitter import apply_color_jitter, sample_color_jitter
from mnssd_training.data.copy_paste import ObjectPool, paste_objects
from mnssd_training.data.object_tone import scale_contrast
from mnssd_training.data.random_crops import (
    AROUND_OBJECT,
    iou_crop,
    large_scale_jitter,
    zoom_out,
)
from mnssd_training.data.resized_crop import (
    content_region,
    flip_in_region,
    map_crop,
    paste_crop,
    PixelBox,
    ResizedCrop,
    transform_boxes,
)
from mnssd_training.data.sample import load_image, Sample
import numpy as np
from numpy.typing import NDArray

NO_AUGMENTATION = AugmentationConfig(
    zoom_out=0, iou_crop=0, horizontal_flip=0, brightness=0, contrast=0, saturation=0, hue=0
)
MIN_IGNORE_SIDE = 1e-3  # pixels; thinner ignore regions are dropped
MOSAIC_CENTRE = (0.25, 0.75)  # where the four images meet, in sides of the input
MOSAIC_SCALES = (0.5, 1.0)  # of the four images without large-scale jitter
MIXUP_BETA = 8.0  # of the shares of two blended images: both stay visible

Crops = list[tuple[Sample, ResizedCrop]]


@dataclass(frozen=True)
class NetworkSample:
    """
    A network input with its annotations.

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
    pool: ObjectPool | None = None,
) -> NetworkSample:
    """
    Augment a sample and resize it to the network input.

    :param samples: the training set, which mosaic and mixup take further images from.
    :param spec: large-scale jitter is relative to the scale at its input size.
    :param size: (height, width) of the network input, pixels.
    :param config: None for no augmentation.
    :param pool: the objects for copy-paste; None for no copy-paste.
    """
    config = config or NO_AUGMENTATION
    layers = [_draw_crops(samples, index, spec, size, config, generator)]
    weight = 1.0
    if generator.random() < config.mixup:
        partner = int(generator.integers(len(samples)))
        layers.append(_draw_crops(samples, partner, spec, size, config, generator))
        weight = generator.beta(MIXUP_BETA, MIXUP_BETA)
    jitter = sample_color_jitter(config, generator)
    images, all_crops = [], Crops()
    for crops in layers:
        layer_image, shown = _compose_image(crops, size, config, generator, pool)
        images.append(layer_image)
        all_crops += shown
    image = images[0]
    for other in images[1:]:
        image = cv2.addWeighted(image, weight, other, 1 - weight, 0)
    boxes, labels, ignore = _transform_annotations(all_crops, size, config)
    if generator.random() < config.object_tone:
        low, high = np.log(config.object_tone_range).tolist()
        factors = np.exp(generator.uniform(low, high, len(boxes)))
        scale_contrast(image, boxes * (size[::-1] * 2), factors)
    image = apply_color_jitter(random_blur(image, config.blur, generator), jitter)
    return NetworkSample(random_noise(image, config.noise, generator), boxes, labels, ignore)


def _draw_crops(
    samples: Sequence[Sample],
    index: int,
    spec: ModelSpec,
    size: tuple[int, int],
    config: AugmentationConfig,
    generator: np.random.Generator,
) -> Crops:
    """Draw the crop of one image, or of the four images of a mosaic."""
    sample, (height, width) = samples[index], size
    if generator.random() >= config.mosaic:
        return [(sample, _draw_crop(sample, spec, (0, 0, width, height), size, config, generator))]
    y, x = (
        min(max(round(generator.uniform(*MOSAIC_CENTRE) * side), 1), side - 1) for side in size
    )
    quadrants = product(((0, y), (y, height)), ((0, x), (x, width)))
    regions = [(left, top, right, bottom) for (top, bottom), (left, right) in quadrants]
    partners = [sample, *(samples[i] for i in generator.integers(len(samples), size=3))]
    return [
        (partner, _draw_crop(partner, spec, region, size, config, generator))
        for partner, region in zip(partners, regions)
        if region[0] < region[2] and region[1] < region[3]  # not empty, in a tiny input
    ]


def _draw_crop(
    sample: Sample,
    spec: ModelSpec,
    region: PixelBox,
    size: tuple[int, int],
    config: AugmentationConfig,
    generator: np.random.Generator,
) -> ResizedCrop:
    """Draw the crop of one image that fills a region of the network input."""
    region_size = (region[3] - region[1], region[2] - region[0])
    target, has_jitter = region, generator.random() < config.large_scale_jitter
    if has_jitter or region_size != size:
        scale_range = config.large_scale_jitter_range if has_jitter else MOSAIC_SCALES
        base_size = spec.input_size if has_jitter else size
        content = resize_transform(sample.size, base_size, spec.resize).content_size
        base_scale = (content[0] / sample.size[0], content[1] / sample.size[1])
        boxes, around_box = sample.boxes, AROUND_OBJECT
        if len(sample.hard_negatives) and generator.random() < config.hard_negative_crop:
            boxes, around_box = sample.hard_negatives, 1.0
        crop = large_scale_jitter(
            sample.size,
            boxes,
            region_size,
            base_scale,
            scale_range,
            config.large_scale_jitter_max_aspect,
            generator,
            around_box,
        )
    else:
        crop = (0.0, 0.0, float(sample.size[1]), float(sample.size[0]))
        if generator.random() < config.zoom_out:
            crop = zoom_out(crop, config.zoom_out_max_scale, generator)
        if generator.random() < config.iou_crop:
            crop = iou_crop(
                crop, sample.boxes, config.iou_crop_min_ious, config.iou_crop_min_scale, generator
            )
        target = content_region(crop, size, spec.resize)
    flip_x, flip_y = generator.random(2) < (config.horizontal_flip, config.vertical_flip)
    resized_crop = map_crop(sample.size, crop, target)
    return flip_in_region(resized_crop, region, flip_x=bool(flip_x), flip_y=bool(flip_y))


def _compose_image(
    crops: Crops,
    size: tuple[int, int],
    config: AugmentationConfig,
    generator: np.random.Generator,
    pool: ObjectPool | None,
) -> tuple[NDArray[np.uint8], Crops]:
    """Compose the network input; return it with the samples as they are shown in it."""
    canvas, shown = np.full((*size, 3), PADDING, np.uint8), Crops()
    for sample, crop in crops:
        image = load_image(sample)
        if pool and generator.random() < config.copy_paste:
            max_objects = config.copy_paste_max_objects
            pasted, image = paste_objects(sample, image, crop.source, pool, max_objects, generator)
            shown.append((pasted, crop))
        else:
            shown.append((sample, crop))
        paste_crop(crop, image, canvas)
    return canvas, shown


def _transform_annotations(
    crops: Crops, size: tuple[int, int], config: AugmentationConfig
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """
    Return boxes, labels and ignore regions of the crops, fractions of the input.

    An object that is too small, or of which too little is visible, becomes an ignore region: too
    little to learn from, too much to be background.
    """
    boxes, labels, ignore = [], [], []
    for sample, crop in crops:
        objects, visibility = transform_boxes(crop, sample.boxes)
        sides = objects[:, 2:] - objects[:, :2]
        is_kept = (visibility >= config.min_visibility) & (sides > config.min_box_size).all(axis=1)
        regions, _ = transform_boxes(crop, sample.ignore)
        boxes.append(objects[is_kept])
        labels.append(sample.labels[is_kept])
        ignore += [objects[~is_kept], regions]
    all_boxes, all_ignore = np.concatenate(boxes), np.concatenate(ignore)
    sides = all_ignore[:, 2:] - all_ignore[:, :2]
    all_ignore = all_ignore[(sides > MIN_IGNORE_SIDE).all(axis=1)]
    scale = np.array(size[::-1] * 2, np.float64)
    return (
        (all_boxes / scale).astype(np.float32),
        np.concatenate(labels),
        (all_ignore / scale).astype(np.float32),
    )
