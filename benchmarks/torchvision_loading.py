"""
A loading peer: torchvision's reference training of detectors.

PIL decodes, transforms v2 of the preset ``ssd`` augment tensors, the loader hands over lists; the
resize to the network input and the matching of priors happen in the model, in the main process.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from mnssd_perception.ssd import MatchingConfig, ModelSpec
from mnssd_training.data import Sample
from PIL import Image
import torch
from torchvision import tv_tensors
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou
from torchvision.transforms import v2

from benchmarks.loading_peer import Batch, PeerDataset, priors_in_pixels, shuffled_loader

Target = dict[str, torch.Tensor]


def decode(sample: Sample) -> Image.Image:
    """Read an image with PIL."""
    return Image.open(str(sample.path)).convert('RGB')


def make_dataset(samples: Sequence[Sample], spec: ModelSpec) -> PeerDataset:
    """Make a dataset of augmented images ``(3, height, width)`` float32 and their targets."""
    preset = v2.Compose(  # of torchvision's SSD300
        [
            v2.ToImage(),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=[value * 255 for value in spec.normalisation.mean]),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    return PeerDataset(samples, partial(_augment, preset))


def _augment(preset: v2.Transform, sample: Sample) -> tuple[torch.Tensor, Target]:
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(sample.boxes), format='XYXY', canvas_size=sample.size
    )
    return preset(decode(sample), {'boxes': boxes, 'labels': torch.from_numpy(sample.labels) + 1})


def match(
    boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor, matching: MatchingConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Match one image as torchvision's SSD does.

    :param boxes: ``(N, 4)`` xyxy.
    :param labels: ``(N,)`` from 1.
    :param priors: ``(P, 4)`` xyxy, unit of the boxes.
    :return: classes ``(P,)`` and offsets ``(P, 4)``.
    """
    classes, offsets = torch.zeros(len(priors), dtype=torch.int64), torch.zeros(len(priors), 4)
    if len(boxes):
        matched = SSDMatcher(matching.positive_iou)(box_iou(boxes, priors))
        positive = torch.where(matched >= 0)[0]
        classes[positive] = labels[matched[positive]]
        offsets[positive] = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(
            boxes[matched[positive]], priors[positive]
        )
    return classes, offsets


def make_resize(spec: ModelSpec) -> GeneralizedRCNNTransform:
    """Build the first stage of torchvision's models: normalise, resize and stack images."""
    return GeneralizedRCNNTransform(
        min(spec.input_size),
        max(spec.input_size),
        list(spec.normalisation.mean),
        list(spec.normalisation.std),
        size_divisible=1,
        fixed_size=spec.input_size[::-1],
    )


def batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Load images ``(B, 3, H, W)`` float32, classes ``(B, P)`` and offsets ``(B, P, 4)``."""
    resize, priors = make_resize(spec), priors_in_pixels(spec)
    dataset = make_dataset(samples, spec)
    for images, targets in shuffled_loader(dataset, batch_size, workers, _transpose):
        batch, resized = resize(list(images), list(targets))
        encoded = [
            match(target['boxes'], target['labels'], priors, matching) for target in resized
        ]
        yield batch.tensors, *(torch.stack(part) for part in zip(*encoded))


def _transpose(items: Sequence[tuple[torch.Tensor, Target]]) -> tuple[tuple[object, ...], ...]:
    return tuple(zip(*items))
