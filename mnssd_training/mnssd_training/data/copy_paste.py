"""
Copy small objects between training images of one condition.

Kisantal et al., Augmentation for small object detection, 2019, and Ghiasi et al., Simple
Copy-Paste, CVPR 2021, without masks: the box is copied with a soft edge, and shifted in level by
the difference of the surroundings. All objects of an image come from one other image, which is
decoded once. They keep their scale in pixels of the image, so a condition should imply a height.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnssd_training.config.sections import AugmentationConfig
from mnssd_training.data.object_tone import (
    MARGIN,
    margin_width,
    paint_boxes,
    PixelBox,
    ring_levels,
    soft_mask,
    to_pixels,
)
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.data.sampling import group_ids
from mnssd_training.errors import ConfigError
import numpy as np
from numpy.typing import NDArray

TRIALS = 12  # positions for each object
MIN_CONTRAST = 10.0  # levels between an object and its surroundings
CLUTTER = 0.5  # largest spread of the surroundings, in contrasts of the object
PEAK = 90  # percentile of the levels of an object that is its contrast


@dataclass(frozen=True, eq=False)
class ObjectPool:
    """
    The objects that can be copied: small ones that touch no other box.

    :ivar samples: the training set.
    :ivar conditions: condition by name of the image.
    :ivar objects: ``(K, 2)`` (index of the image, index of the object in it) by condition.
    :ivar weights: ``(K,)`` for each of them; rare classes have more.
    """

    samples: Sequence[Sample]
    conditions: dict[str, int]
    objects: dict[int, NDArray[np.int64]]
    weights: dict[int, NDArray[np.float64]]


def make_object_pool(
    samples: Sequence[Sample], config: AugmentationConfig, groups: str
) -> ObjectPool | None:
    """
    Collect the objects of a training set that can be copied; None without copy-paste.

    The weight of a class is the root of its number of objects, shared by them.

    :param groups: ``data.sampling.groups``; objects are copied within each group.
    :raises ConfigError: if there are none.
    """
    if not config.copy_paste:
        return None
    pairs = np.array(
        [
            (index, number)
            for index, sample in enumerate(samples)
            for number in _copyable_objects(sample, config.copy_paste_max_size)
        ],
        np.int64,
    ).reshape(-1, 2)
    if not len(pairs):
        raise ConfigError(
            'augmentation.copy_paste: expected training objects of at most '
            f'{config.copy_paste_max_size:g} pixels that touch no other, got none; '
            'raise augmentation.copy_paste_max_size'
        )
    labels = np.array([samples[index].labels[number] for index, number in pairs])
    weights = np.bincount(labels)[labels] ** -0.5
    ids = group_ids(samples, groups)
    conditions = {sample.name: int(number) for sample, number in zip(samples, ids)}
    rows = {number: ids[pairs[:, 0]] == number for number in set(conditions.values())}
    return ObjectPool(
        samples,
        conditions,
        {number: pairs[row] for number, row in rows.items()},
        {number: weights[row] for number, row in rows.items()},
    )


def _copyable_objects(sample: Sample, max_size: float) -> NDArray[np.int64]:
    """List the small objects whose surroundings are in the image and show no other box."""
    boxes = np.concatenate((sample.boxes, sample.ignore))
    sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
    areas = np.array([_with_margin(to_pixels(box)) for box in sample.boxes]).reshape(-1, 4)
    others = _overlaps(areas, boxes)
    np.fill_diagonal(others, False)
    is_inside = (areas[:, :2] >= 0).all(axis=1) & (areas[:, 2:] <= sample.size[::-1]).all(axis=1)
    is_small = np.sqrt(sides.prod(axis=1)) <= max_size
    return np.flatnonzero(is_inside & is_small & ~others.any(axis=1))


def paste_objects(
    sample: Sample,
    image: NDArray[np.uint8],
    window: PixelBox,
    pool: ObjectPool,
    max_objects: int,
    generator: np.random.Generator,
) -> tuple[Sample, NDArray[np.uint8]]:
    """
    Paste objects of another image of the same condition, where they are visible.

    An object is brighter, or darker, than its surroundings in both images, and covers neither
    objects nor ignore regions.

    :param window: xyxy, pixels of the image; the part that is shown.
    :return: the sample with further objects, and a changed copy of the image.
    """
    condition = pool.conditions[sample.name]
    candidates, weights = pool.objects[condition], pool.weights[condition]
    if not len(candidates):
        return sample, image
    first = candidates[generator.choice(len(candidates), p=weights / weights.sum())]
    is_same = candidates[:, 0] == first[0]
    candidates, weights = candidates[is_same], weights[is_same]
    num = min(int(generator.integers(1, max_objects + 1)), len(candidates))
    chosen = candidates[generator.choice(len(candidates), num, False, weights / weights.sum())]
    source = pool.samples[first[0]]
    source_image, image = load_image(source), image.copy()
    source_objects = paint_boxes(source.size, [to_pixels(box) for box in source.boxes])
    occupied = np.concatenate((sample.boxes, sample.ignore))
    is_object = paint_boxes(sample.size, [to_pixels(box) for box in occupied])
    boxes, labels = [sample.boxes], [sample.labels]
    for number in chosen[:, 1]:
        box = to_pixels(source.boxes[number])
        patch = _cut_object(source_image, box, source_objects)
        for shift in _free_positions(box, window, occupied, generator):
            target = tuple(np.add(box, (*shift, *shift)).tolist())
            if patch is None or not _blend(patch, image, target, is_object):
                continue
            pasted = source.boxes[number : number + 1] + np.tile(shift, 2).astype(np.float32)
            occupied = np.concatenate((occupied, pasted))
            is_object |= paint_boxes(sample.size, [target])
            boxes.append(pasted)
            labels.append(source.labels[number : number + 1])
            break
    return replace(sample, boxes=np.concatenate(boxes), labels=np.concatenate(labels)), image


@dataclass(frozen=True, eq=False)
class _Patch:
    """
    An object relative to its surroundings.

    :ivar levels: ``(h, w, 3)`` float32 with margins, relative to the surroundings.
    :ivar ground: mean level of the surroundings.
    :ivar contrast: of the brightest, or darkest, part of the object; negative if darker.
    """

    levels: NDArray[np.float32]
    ground: float
    contrast: float


def _cut_object(
    image: NDArray[np.uint8], box: PixelBox, is_object: NDArray[np.bool_]
) -> _Patch | None:
    """Cut an object out; None if it hardly stands out from its surroundings."""
    ring = ring_levels(image, box, is_object)
    if not len(ring):
        return None
    ground = np.median(ring, axis=0).astype(np.float32)  # (3,)
    left, top, right, bottom = _with_margin(box)
    levels = image[top:bottom, left:right] - ground
    inside = (image[box[1] : box[3], box[0] : box[2]] - ground).mean(axis=2)
    polarity = float(np.sign(inside.sum()))
    contrast = polarity * float(np.percentile(inside * polarity, PEAK))
    if not _is_visible(ring, contrast):
        return None
    return _Patch(levels, float(ground.mean()), contrast)


def _blend(
    patch: _Patch, image: NDArray[np.uint8], box: PixelBox, is_object: NDArray[np.bool_]
) -> bool:
    """Paste an object in place if it is visible there, with the same polarity."""
    ring = ring_levels(image, box, is_object)
    if not len(ring):
        return False
    ground = np.median(ring, axis=0).astype(np.float32)  # (3,)
    level = float(ground.mean())
    has_polarity = (patch.ground + patch.contrast - level) * patch.contrast > 0
    contrast = min(max(level + patch.contrast, 0.0), 255.0) - level  # after saturation
    if not has_polarity or not _is_visible(ring, contrast):
        return False
    mask, area = soft_mask(image.shape[:2], box)
    levels = image[area] * (1 - mask) + (ground + patch.levels) * mask
    image[area] = np.rint(np.clip(levels, 0, 255))
    return True


def _is_visible(ring: NDArray[np.uint8], contrast: float) -> bool:
    spread = float(ring.mean(axis=1).std())
    return abs(contrast) >= max(MIN_CONTRAST, spread / CLUTTER)


def _free_positions(
    box: PixelBox,
    window: PixelBox,
    occupied: NDArray[np.floating],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw shifts (x, y) that bring a box with its margin to free places of the window."""
    area, limits = np.array(_with_margin(box)), np.array(window)
    low, high = limits[:2] - area[:2], limits[2:] - area[2:]
    if (low > high).any():
        return np.zeros((0, 2), np.int64)
    shifts = generator.integers(low, high + 1, (TRIALS, 2))
    return shifts[~_overlaps(area + np.tile(shifts, 2), occupied).any(axis=1)]


def _with_margin(box: PixelBox) -> PixelBox:
    margin = margin_width(box, MARGIN)
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _overlaps(boxes: NDArray[np.int64], others: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which boxes ``(N, 4)`` and ``(M, 4)`` overlap, ``(N, M)``."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.asarray((low < high).all(axis=2))
