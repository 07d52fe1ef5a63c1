"""
A loading peer: torchvision, tuned to be as fast as possible.

``torchvision.io`` decodes into uint8 tensors, which stay uint8 up to the network; zoom-out and
IoU crop draw their parameters on the boxes alone, so that one part of the image is cropped and
resized (with antialiasing); flip and photometric distortion work on that small
image, the hue in OpenCV, since v2 computes it in float32, which takes ten times as long; priors
are matched in the loader's workers. Nothing is computed on pixels that the network does not see.
"""

from collections.abc import Iterator, Sequence

import cv2
from mnssd_perception.ssd import MatchingConfig, ModelSpec
from mnssd_training.data import Sample
from mnssd_training.data.sample import read_encoded
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.io import decode_image, ImageReadMode
from torchvision.ops import box_iou
from torchvision.transforms import v2

from benchmarks.loading_peer import Batch, PeerDataset, priors_in_pixels, shuffled_loader
from benchmarks.torchvision_loading import match

ZOOM_OUT, IOU_CROP = v2.RandomZoomOut(), v2.RandomIoUCrop()
DISTORT, SANITIZE = v2.RandomPhotometricDistort(), v2.SanitizeBoundingBoxes()


def decode(sample: Sample) -> torch.Tensor:
    """Read an image with torchvision: ``(3, height, width)`` uint8."""
    encoded = torch.frombuffer(bytearray(read_encoded(sample.path)), dtype=torch.uint8)
    return decode_image(encoded, ImageReadMode.RGB)


def augment(
    image: torch.Tensor, sample: Sample, spec: ModelSpec
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Augment an image and resize it to the network input.

    :param image: ``(3, height, width)`` uint8.
    :return: ``(3, H, W)`` uint8, boxes ``(N, 4)`` xyxy in pixels of the input, labels from 1.
    """
    (height, width), size = sample.size, spec.input_size
    boxes, labels = torch.from_numpy(sample.boxes), torch.from_numpy(sample.labels) + 1
    left, top, canvas = 0, 0, (height, width)
    if torch.rand(()) < ZOOM_OUT.p:
        left, top, right, bottom = ZOOM_OUT.make_params([image])['padding']
        canvas = (height + top + bottom, width + left + right)
    boxes = boxes + torch.tensor((left, top, left, top))
    crop, inside = _draw_crop(boxes, canvas)
    labels = labels[inside]
    shifted = tv_tensors.BoundingBoxes(boxes[inside], format='XYXY', canvas_size=canvas)
    # The part of the crop inside the image, and where it lies in the network input.
    window = np.array((crop['top'] - top, crop['left'] - left), np.float64)
    window_size = np.array((crop['height'], crop['width']))
    scale = np.array(size) / window_size
    low, high = np.maximum(window, 0), np.minimum(window + window_size, (height, width))
    y1, x1 = np.rint((low - window) * scale).astype(int).tolist()
    y2, x2 = np.rint((high - window) * scale).astype(int).tolist()
    mean = torch.tensor(spec.normalisation.mean)[:, None, None]
    canvas_pixels = (mean * 255).to(torch.uint8).expand(3, *size).contiguous()
    if y2 > y1 and x2 > x1:
        (upper, first), (lower, last) = (edge.astype(int).tolist() for edge in (low, high))
        part = image[:, upper:lower, first:last]
        resized = v2.functional.resize(part, [y2 - y1, x2 - x1], antialias=True)
        canvas_pixels[:, y1:y2, x1:x2] = resized
    cropped = v2.functional.crop(shifted, **crop)
    target = {'boxes': v2.functional.resize(cropped, list(size)), 'labels': labels}
    augmented = tv_tensors.Image(canvas_pixels)
    if torch.rand(()) < 0.5:
        augmented = v2.functional.horizontal_flip(augmented)
        target['boxes'] = v2.functional.horizontal_flip(target['boxes'])
    augmented, target = SANITIZE(tv_tensors.Image(_distort(augmented)), target)
    plain_boxes = target['boxes'].as_subclass(torch.Tensor)
    return augmented.as_subclass(torch.Tensor), plain_boxes, target['labels']


def _draw_crop(
    boxes: torch.Tensor, canvas: tuple[int, int]
) -> tuple[dict[str, int], torch.Tensor]:
    """
    Draw a crop as ``v2.RandomIoUCrop`` does, but all tries of an option at once.

    :param boxes: ``(N, 4)`` xyxy, pixels of the canvas.
    :param canvas: (height, width), pixels.
    :return: the crop, and which boxes have their centres in it.
    """
    size = torch.tensor(canvas)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    while len(boxes):
        min_iou = IOU_CROP.options[int(torch.randint(len(IOU_CROP.options), ()))]
        if min_iou >= 1:
            break
        scales = torch.empty(IOU_CROP.trials, 2).uniform_(IOU_CROP.min_scale, IOU_CROP.max_scale)
        sizes = (size * scales).long()  # height, width
        corners = ((size - sizes) * torch.rand(IOU_CROP.trials, 2)).long()  # top, left
        low, high = corners.flip(1).float(), (corners + sizes).flip(1).float()
        inside = ((centres > low[:, None]) & (centres < high[:, None])).all(dim=2)
        ious = box_iou(torch.cat((low, high), dim=1), boxes) * inside
        aspects = sizes[:, 1] / sizes[:, 0]
        is_valid = (aspects >= IOU_CROP.min_aspect_ratio) & (aspects <= IOU_CROP.max_aspect_ratio)
        is_valid &= inside.any(dim=1) & (ious.amax(dim=1) >= min_iou)
        if is_valid.any():
            first = int(is_valid.int().argmax())
            (top, left), (height, width) = corners[first].tolist(), sizes[first].tolist()
            crop = {'top': top, 'left': left, 'height': height, 'width': width}
            return crop, inside[first]
    all_boxes = torch.ones(len(boxes), dtype=torch.bool)
    return {'top': 0, 'left': 0, 'height': canvas[0], 'width': canvas[1]}, all_boxes


def _distort(image: torch.Tensor) -> torch.Tensor:
    """Apply ``v2.RandomPhotometricDistort`` to a uint8 image."""
    params = DISTORT.make_params([image])
    hue, order = params['hue_factor'], params['channel_permutation']
    contrast = params['contrast_factor']
    if params['brightness_factor'] is not None:
        image = v2.functional.adjust_brightness(image, params['brightness_factor'])
    if contrast is not None and params['contrast_before']:
        image = v2.functional.adjust_contrast(image, contrast)
    if params['saturation_factor'] is not None:
        image = v2.functional.adjust_saturation(image, params['saturation_factor'])
    if hue is not None:
        hsv = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
        rotated = (
            np.arange(256) + round(hue * 180)
        ) % 180  # OpenCV's hue is in steps of 2 degrees
        hsv[..., 0] = cv2.LUT(hsv[..., 0], rotated.astype(np.uint8))
        image = torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1)
    if contrast is not None and not params['contrast_before']:
        image = v2.functional.adjust_contrast(image, contrast)
    return image if order is None else image[order].contiguous()


def batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Load images ``(B, 3, H, W)`` uint8, classes ``(B, P)`` and offsets ``(B, P, 4)``."""
    priors = priors_in_pixels(spec)

    def make_item(sample: Sample) -> Batch:
        image, boxes, labels = augment(decode(sample), sample, spec)
        return image, *match(boxes, labels, priors, matching)

    yield from shuffled_loader(PeerDataset(samples, make_item), batch_size, workers)
