"""
A loading peer: the way of the widespread ``pytorch-ssd`` scripts.

Written from their description: OpenCV decodes, colours change in float32 HSV, an expansion pastes
the image on a larger float canvas, a loop searches for a crop, the resize to the network input
comes last; the priors of each image are matched in torch, in the loader.
"""

from collections.abc import Iterator, Sequence

import cv2
from mnssd_perception.ssd import generate_priors, MatchingConfig, ModelSpec
from mnssd_training.data import Sample
import numpy as np
from numpy.typing import NDArray
import torch
from torchvision.ops import box_convert, box_iou

from benchmarks.loading_peer import Batch, PeerDataset, shuffled_loader

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
MEAN, DIVISOR = 127.0, 128.0
MIN_IOUS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
TRIES = 50


def decode(sample: Sample) -> NDArray[np.uint8]:
    """Read an image with OpenCV."""
    return cv2.cvtColor(cv2.imread(str(sample.path)), cv2.COLOR_BGR2RGB)


def augment(
    image: NDArray[np.uint8],
    boxes: Floats,
    labels: Labels,
    size: tuple[int, int],
    generator: np.random.Generator,
) -> tuple[Floats, Floats, Labels]:
    """
    Augment an image and resize it to the network input.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param boxes: ``(N, 4)`` xyxy, pixels.
    :param size: (height, width) of the network input.
    :return: ``(3, H, W)`` float32, boxes as fractions of the input, labels.
    """
    pixels = _distort(image.astype(np.float32), generator)
    pixels, boxes = _expand(pixels, boxes.copy(), generator)
    pixels, boxes, labels = _crop(pixels, boxes, labels, generator)
    height, width = pixels.shape[:2]
    if generator.integers(2):
        pixels = pixels[:, ::-1]
        boxes[:, 0::2] = width - boxes[:, 2::-2]
    boxes = np.divide(boxes, (width, height) * 2, dtype=np.float32)
    pixels = cv2.resize(pixels, size[::-1])
    pixels = (pixels - np.float32(MEAN)) / np.float32(DIVISOR)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), boxes, labels


def _distort(image: Floats, generator: np.random.Generator) -> Floats:
    """Change colours in float32."""
    contrast_first = generator.integers(2)
    if generator.integers(2):
        image = image + np.float32(generator.uniform(-32, 32))
    if contrast_first and generator.integers(2):
        image = image * np.float32(generator.uniform(0.5, 1.5))
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if generator.integers(2):
        hsv[:, :, 1] *= generator.uniform(0.5, 1.5)
    if generator.integers(2):
        hsv[:, :, 0] += generator.uniform(-18.0, 18.0)
        hsv[:, :, 0][hsv[:, :, 0] > 360.0] -= 360.0
        hsv[:, :, 0][hsv[:, :, 0] < 0.0] += 360.0
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not contrast_first and generator.integers(2):
        image = image * np.float32(generator.uniform(0.5, 1.5))
    return image


def _expand(image: Floats, boxes: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Paste the image on a larger canvas."""
    if generator.integers(2):
        return image, boxes
    height, width, depth = image.shape
    ratio = generator.uniform(1, 4)
    left = int(generator.uniform(0, width * ratio - width))
    top = int(generator.uniform(0, height * ratio - height))
    canvas = np.full((int(height * ratio), int(width * ratio), depth), MEAN, image.dtype)
    canvas[top : top + height, left : left + width] = image
    return canvas, boxes + np.array((left, top, left, top), np.float32)


def _crop(
    image: Floats, boxes: Floats, labels: Labels, generator: np.random.Generator
) -> tuple[Floats, Floats, Labels]:
    """Search for a crop with enough IoU with some object."""
    height, width = image.shape[:2]
    while len(boxes):
        min_iou = MIN_IOUS[generator.integers(len(MIN_IOUS))]
        if min_iou is None:
            break
        for _ in range(TRIES):
            w, h = generator.uniform(0.3 * width, width), generator.uniform(0.3 * height, height)
            if not 0.5 <= h / w <= 2:
                continue
            left, top = generator.uniform(0, width - w), generator.uniform(0, height - h)
            crop = np.array((int(left), int(top), int(left + w), int(top + h)))
            low, high = np.maximum(boxes[:, :2], crop[:2]), np.minimum(boxes[:, 2:], crop[2:])
            intersection = np.clip(high - low, 0, None).prod(axis=1)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
            union = areas + (crop[2:] - crop[:2]).prod() - intersection
            if (intersection / union).max() < min_iou:
                continue
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres > crop[:2]) & (centres < crop[2:])).all(axis=1)
            if not inside.any():
                continue
            cropped = np.concatenate((low[inside], high[inside]), axis=1) - np.tile(crop[:2], 2)
            pixels = image[crop[1] : crop[3], crop[0] : crop[2]]
            return pixels, cropped.astype(np.float32), labels[inside]
    return image, boxes, labels


def match(
    boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor, matching: MatchingConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Match one image by comparing all priors with all boxes in torch.

    :param boxes: ``(N, 4)`` xyxy, fractions of the input.
    :param labels: ``(N,)`` from 1.
    :param priors: ``(P, 4)`` cxcywh, fractions of the input.
    :return: classes ``(P,)`` and offsets ``(P, 4)``.
    """
    if not len(boxes):
        return torch.zeros(len(priors), dtype=torch.int64), torch.zeros(len(priors), 4)
    ious = box_iou(box_convert(priors, 'cxcywh', 'xyxy'), boxes)  # (P, N)
    best_iou, best_box = ious.max(dim=1)
    best_prior = ious.argmax(dim=0)
    for index, prior in enumerate(best_prior):
        best_box[prior] = index
    best_iou[best_prior] = 2.0
    classes = labels[best_box]
    classes[best_iou < matching.positive_iou] = 0
    target = box_convert(boxes[best_box], 'xyxy', 'cxcywh')
    centre_offsets = (target[:, :2] - priors[:, :2]) / priors[:, 2:] / 0.1
    return classes, torch.cat((centre_offsets, (target[:, 2:] / priors[:, 2:]).log() / 0.2), dim=1)


def batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Load images ``(B, 3, H, W)`` float32, classes ``(B, P)`` and offsets ``(B, P, 4)``."""
    priors, generator = torch.tensor(generate_priors(spec)), np.random.default_rng(0)

    def make_item(sample: Sample) -> Batch:
        image, boxes, labels = augment(
            decode(sample), sample.boxes, sample.labels, spec.input_size, generator
        )
        targets = match(torch.from_numpy(boxes), torch.from_numpy(labels) + 1, priors, matching)
        return torch.from_numpy(image), *targets

    yield from shuffled_loader(PeerDataset(samples, make_item), batch_size, workers)
