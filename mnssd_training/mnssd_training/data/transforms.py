"""
Samples to augmented network inputs: the SSD recipe with torchvision's transforms v2.

Zoom out, IoU crop and flips work on the photograph with its boxes and ignore regions; then the
photograph is resized exactly as on the drone, and its colours are changed. All randomness comes
from torch's generator, which :class:`mnssd_training.data.dataset.TrainingSet` seeds for each
sample.
"""

from dataclasses import dataclass

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import ModelSpec, resize_frame, resizing
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ConfigError
import numpy as np
from numpy.typing import NDArray
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

__all__ = ['Augmentation', 'augment', 'geometry', 'NetworkSample', 'photometry', 'to_network']


PIXEL_CENTRE = 0.5  # key points are pixel centres, box corners are pixel edges
MIN_VISIBLE = 0.4  # the part of an object that must be in view for it to stay an object
COLOURS = ('brightness', 'contrast', 'saturation', 'hue')
MAX_HUE = 0.5  # turns; half a turn either way is all there is


@dataclass(frozen=True)
class Augmentation:
    """
    What may happen to a photograph in training.

    :ivar zoom_out: probability of a larger canvas around it.
    :ivar zoom_out_side: largest side of that canvas, in sides of the photograph.
    :ivar crop: probability of an IoU crop.
    :ivar crop_scale: smallest side of a crop, in sides of the photograph.
    :ivar crop_ious: a crop must overlap some object by one of these; from 1 on there is no crop,
        which must be among them for photographs that have no such crop. Small objects never reach
        more than 0.
    :ivar horizontal_flip: probability.
    :ivar vertical_flip: probability; 0.5 suits a camera that looks down.
    :ivar brightness: largest change, as a factor.
    :ivar contrast: largest change, as a factor.
    :ivar saturation: largest change, as a factor; 0 for grey cameras.
    :ivar hue: largest shift, in turns; 0 for grey cameras.
    :ivar invert: probability of a negative; thermal cameras show heat white or black, and what is
        warmer than the ground by night is cooler by day.
    :ivar equalise: probability of stretching the contrast by the histogram.
    :ivar min_side: a box with a side under this many pixels of the network input becomes an ignore
        region.
    """

    zoom_out: float = 0.5
    zoom_out_side: float = 4.0
    crop: float = 0.8
    crop_scale: float = 0.3
    crop_ious: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.05
    invert: float = 0.0
    equalise: float = 0.0
    min_side: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what torchvision would refuse later, in a worker, or never finish."""
        for name in ('zoom_out', 'crop', 'horizontal_flip', 'vertical_flip', *COLOURS):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f'augmentation.{name}: expected 0 to 1, got {getattr(self, name)}'
                )
        if not self.zoom_out_side >= 1:
            raise ConfigError(
                f'augmentation.zoom_out_side: expected at least 1, got {self.zoom_out_side}'
            )
        if not 0 < self.crop_scale <= 1:
            raise ConfigError(
                f'augmentation.crop_scale: expected more than 0 and at most 1, '
                f'got {self.crop_scale}'
            )
        if not max(self.crop_ious, default=0) >= 1:
            raise ConfigError(
                f'augmentation.crop_ious: expected one of at least 1, got {self.crop_ious}; '
                f'a photograph without objects has no other crop'
            )
        if not self.hue <= MAX_HUE:
            raise ConfigError(f'augmentation.hue: expected 0 to {MAX_HUE}, got {self.hue}')


@dataclass(frozen=True)
class NetworkSample:
    """
    A photograph as the network sees it.

    :ivar image: ``(height, width, 3)`` uint8 RGB of the input size.
    :ivar boxes: ``(N, 4)`` float32 xyxy, fractions of the input.
    :ivar labels: ``(N,)`` int64.
    :ivar ignore: ``(M, 4)`` float32 xyxy, fractions of the input.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float32]


def to_network(
    image: NDArray[np.uint8], sample: Sample, spec: ModelSpec, min_side: float = 0.0
) -> NetworkSample:
    """
    Resize a photograph and its boxes exactly as on the drone.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param sample: its boxes, in pixels of ``image``.
    :param spec: the model.
    :param min_side: a box with a side under this many pixels of the input becomes an ignore
        region: too small to learn from, too visible to be background.
    :return: what the network sees.
    """
    plan = resizing(image.shape[:2], spec.input_size, spec.resize)
    boxes, ignore = plan.to_input(sample.boxes), plan.to_input(sample.ignore)
    height, width = spec.input_size
    sides = (boxes[:, 2:] - boxes[:, :2]) * (width, height)
    keep = (sides > max(min_side, 1e-3)).all(axis=1)
    return NetworkSample(
        resize_frame(image, plan),
        boxes[keep],
        sample.labels[keep],
        np.concatenate((ignore, boxes[~keep])),
    )


def geometry(augmentation: Augmentation) -> v2.Transform:
    """
    Build the transforms that move boxes.

    :param augmentation: what may happen.
    :return: a transform of (image, boxes).
    """
    steps: list[v2.Transform] = []
    if augmentation.zoom_out > 0:
        steps.append(
            v2.RandomZoomOut(
                fill=114, side_range=(1.0, augmentation.zoom_out_side), p=augmentation.zoom_out
            )
        )
    if augmentation.crop > 0:
        crop = v2.RandomIoUCrop(
            min_scale=augmentation.crop_scale, sampler_options=list(augmentation.crop_ious)
        )
        steps.append(v2.RandomApply([crop], p=augmentation.crop))
    steps.append(v2.RandomHorizontalFlip(augmentation.horizontal_flip))
    steps.append(v2.RandomVerticalFlip(augmentation.vertical_flip))
    return v2.Compose(steps)


def photometry(augmentation: Augmentation) -> v2.Transform:
    """
    Build the transforms that change colours.

    :param augmentation: what may happen.
    :return: a transform of an image.
    """

    def around(change: float) -> tuple[float, float]:
        return (1.0 - change, 1.0 + change)

    tones: list[v2.Transform] = [
        v2.RandomInvert(augmentation.invert),
        v2.RandomEqualize(augmentation.equalise),
    ]
    if augmentation.saturation == augmentation.hue == 0:
        jitter = v2.ColorJitter(brightness=augmentation.brightness, contrast=augmentation.contrast)
        return v2.Compose([*tones, v2.RandomApply([jitter], p=0.5)])
    distort = v2.RandomPhotometricDistort(
        brightness=around(augmentation.brightness),
        contrast=around(augmentation.contrast),
        saturation=around(augmentation.saturation),
        hue=(-augmentation.hue, augmentation.hue),
        p=0.5,
    )
    return v2.Compose([*tones, distort])


def augment(
    image: NDArray[np.uint8],
    sample: Sample,
    spec: ModelSpec,
    augmentation: Augmentation,
) -> NetworkSample:
    """
    Augment a photograph and bring it to the network.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param sample: its boxes.
    :param spec: the model.
    :param augmentation: what may happen.
    :return: what the network sees.
    """
    moved_image, moved = _move(image, sample, geometry(augmentation))
    network = to_network(moved_image, moved, spec, augmentation.min_side)
    pixels = torch.from_numpy(network.image).permute(2, 0, 1)
    pixels = photometry(augmentation)(tv_tensors.Image(pixels))
    coloured = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    return NetworkSample(coloured, network.boxes, network.labels, network.ignore)


def _move(
    image: NDArray[np.uint8], sample: Sample, transform: v2.Transform
) -> tuple[NDArray[np.uint8], Sample]:
    """
    Move a photograph with its boxes and its ignore regions.

    Corners travel as key points, because the IoU crop blanks every box whose centre it cuts off:
    an object that is still partly in view would become background. Here it stays an object if
    enough of it is seen, and becomes an ignore region otherwise.
    """
    regions = np.concatenate((sample.boxes, sample.ignore))
    target = {
        'boxes': tv_tensors.BoundingBoxes(
            torch.from_numpy(sample.boxes), format='XYXY', canvas_size=sample.size
        ),
        'corners': tv_tensors.KeyPoints(
            torch.from_numpy(regions.reshape(-1, 2) - PIXEL_CENTRE), canvas_size=sample.size
        ),
    }
    pixels, target = transform(tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), target)
    height, width = pixels.shape[-2:]
    corners = target['corners'].numpy().reshape(-1, 2, 2) + PIXEL_CENTRE
    whole = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    seen = boxes_of.clip(whole, width, height).astype(np.float32)
    visible = boxes_of.area(seen) / np.maximum(boxes_of.area(whole), 1e-6)
    is_object = np.arange(len(seen)) < len(sample.boxes)
    keep = is_object & (visible >= MIN_VISIBLE)
    hide = (visible > 0) & ~keep
    labels = np.concatenate((sample.labels, sample.ignore_labels))
    moved = Sample(
        sample.name,
        sample.path,
        (height, width),
        seen[keep],
        labels[keep],
        seen[hide],
        labels[hide],
    )
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), moved
