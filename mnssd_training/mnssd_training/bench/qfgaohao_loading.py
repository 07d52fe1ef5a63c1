"""
The peer: images to batches the way the widespread ``pytorch-ssd`` does.

Written from its description: OpenCV decodes, colours change in float32 HSV, an expansion pastes
the image on a larger float canvas, a crop is searched with a loop, the network's size comes
last; each image's priors are matched in torch, in the loader.
"""

from collections.abc import Iterator, Sequence

import cv2
from mnssd_perception.ssd import generate_priors, MatchingConfig, ModelSpec
from mnssd_training.data import Sample
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import DataLoader, Dataset

Floats = NDArray[np.float32]
Labelled = tuple[Floats, Floats, NDArray[np.int64]]  # image, boxes, labels
MEAN, DIVISOR = 127.0, 128.0
OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
TRIES = 50


def decode(sample: Sample) -> NDArray[np.uint8]:
    """Read an image with OpenCV."""
    return cv2.cvtColor(cv2.imread(str(sample.path)), cv2.COLOR_BGR2RGB)


def augment(
    image: NDArray[np.uint8],
    boxes: Floats,
    labels: NDArray[np.int64],
    size: tuple[int, int],
    generator: np.random.Generator,
) -> Labelled:
    """
    Augment an image and bring it to the network.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param boxes: ``(N, 4)`` xyxy, pixels.
    :param labels: ``(N,)``.
    :param size: (height, width) of the network input.
    :param generator: of all draws.
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
    image: Floats, boxes: Floats, labels: NDArray[np.int64], generator: np.random.Generator
) -> Labelled:
    """Search a crop that overlaps some object enough."""
    height, width = image.shape[:2]
    while len(boxes):
        wanted = OVERLAPS[generator.integers(len(OVERLAPS))]
        if wanted is None:
            break
        for _ in range(TRIES):
            w, h = generator.uniform(0.3 * width, width), generator.uniform(0.3 * height, height)
            if not 0.5 <= h / w <= 2:
                continue
            left, top = generator.uniform(0, width - w), generator.uniform(0, height - h)
            rect = np.array((int(left), int(top), int(left + w), int(top + h)))
            low, high = np.maximum(boxes[:, :2], rect[:2]), np.minimum(boxes[:, 2:], rect[2:])
            shared = np.clip(high - low, 0, None).prod(axis=1)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
            overlap = shared / (areas + (rect[2:] - rect[:2]).prod() - shared)
            if overlap.max() < wanted:
                continue
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres > rect[:2]) & (centres < rect[2:])).all(axis=1)
            if not inside.any():
                continue
            cut = np.concatenate((low[inside], high[inside]), axis=1) - np.tile(rect[:2], 2)
            piece = image[rect[1] : rect[3], rect[0] : rect[2]]
            return piece, cut.astype(np.float32), labels[inside]
    return image, boxes, labels


def match(
    boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor, matching: MatchingConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Match one image by comparing all priors with all boxes in torch.

    :param boxes: ``(N, 4)`` xyxy, fractions of the input.
    :param labels: ``(N,)`` from 1.
    :param priors: ``(P, 4)`` cxcywh, fractions of the input.
    :param matching: the thresholds.
    :return: classes ``(P,)`` and offsets ``(P, 4)``.
    """
    if not len(boxes):
        return torch.zeros(len(priors), dtype=torch.int64), torch.zeros(len(priors), 4)
    corners = torch.cat((priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2), 1)
    low = torch.maximum(boxes[None, :, :2], corners[:, None, :2])
    high = torch.minimum(boxes[None, :, 2:], corners[:, None, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    own = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    ious = shared / (own[None] + (corners[:, 2:] - corners[:, :2]).prod(dim=1)[:, None] - shared)
    best, target = ious.max(dim=1)
    prior_of = ious.argmax(dim=0)
    for index, prior in enumerate(prior_of):
        target[prior] = index
    best[prior_of] = 2.0
    classes = labels[target]
    classes[best < matching.positive_iou] = 0
    target = boxes[target]
    centres, sides = (target[:, :2] + target[:, 2:]) / 2, target[:, 2:] - target[:, :2]
    shift = (centres - priors[:, :2]) / priors[:, 2:] / 0.1
    return classes, torch.cat((shift, (sides / priors[:, 2:]).log() / 0.2), dim=1)


class _Photographs(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Network inputs with their targets."""

    def __init__(
        self, samples: Sequence[Sample], spec: ModelSpec, matching: MatchingConfig
    ) -> None:
        self._samples, self._spec, self._matching = samples, spec, matching
        self._priors = torch.from_numpy(generate_priors(spec).copy())
        self._generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sample = self._samples[index]
        image, boxes, labels = augment(
            decode(sample),
            sample.boxes,
            sample.labels,
            self._spec.input_size,
            self._generator,
        )
        classes, offsets = match(
            torch.from_numpy(boxes), torch.from_numpy(labels) + 1, self._priors, self._matching
        )
        return torch.from_numpy(image), classes, offsets


def batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """
    Make the batches of an epoch.

    :param samples: the training set.
    :param spec: the network.
    :param matching: the thresholds.
    :param batch_size: images a batch.
    :param workers: processes.
    :return: images ``(B, 3, H, W)`` float32, classes ``(B, P)``, offsets ``(B, P, 4)``.
    """
    dataset = _Photographs(samples, spec, matching)
    yield from DataLoader(
        dataset, batch_size=batch_size, shuffle=True, drop_last=True, num_workers=workers
    )
