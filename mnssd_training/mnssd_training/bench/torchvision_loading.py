"""
The peer: images to batches as torchvision's reference training of detectors makes them.

PIL decodes, transforms v2 of the preset ``ssd`` augment tensors, the loader hands over lists; the
resize to the network and the matching of priors happen in the model, in the main process.
"""

from collections.abc import Iterator, Sequence

from mnssd_perception.ssd import generate_priors, MatchingConfig, ModelSpec
from mnssd_training.data import Sample
import numpy as np
from PIL import Image
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_convert, box_iou
from torchvision.transforms import v2

Target = dict[str, torch.Tensor]


def decode(sample: Sample) -> Image.Image:
    """Read an image with PIL."""
    return Image.open(str(sample.path)).convert('RGB')


def _preset(mean: Sequence[float]) -> v2.Transform:
    """Build the augmentation of torchvision's SSD300, a transform of (image, target)."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=[value * 255 for value in mean]),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )


class Photographs(Dataset[tuple[torch.Tensor, Target]]):
    """
    Augmented images of any size.

    :param samples: the training set.
    :param spec: the network.
    """

    def __init__(self, samples: Sequence[Sample], spec: ModelSpec) -> None:
        self._samples, self._preset = samples, _preset(spec.normalisation.mean)

    def __len__(self) -> int:
        """Count the images."""
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Target]:
        """Read and augment one: image ``(3, height, width)`` float32, boxes and labels."""
        sample = self._samples[index]
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(sample.boxes), format='XYXY', canvas_size=sample.size
        )
        target = {'boxes': boxes, 'labels': torch.from_numpy(sample.labels) + 1}
        return self._preset(decode(sample), target)


def match(
    boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor, matching: MatchingConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Match one image as torchvision's SSD does.

    :param boxes: ``(N, 4)`` xyxy.
    :param labels: ``(N,)`` from 1.
    :param priors: ``(P, 4)`` xyxy, unit of the boxes.
    :param matching: the thresholds.
    :return: classes ``(P,)`` and offsets ``(P, 4)``.
    """
    classes, offsets = torch.zeros(len(priors), dtype=torch.int64), torch.zeros(len(priors), 4)
    if len(boxes):
        found = SSDMatcher(matching.positive_iou)(box_iou(boxes, priors))
        own = torch.where(found >= 0)[0]
        classes[own] = labels[found[own]]
        offsets[own] = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(
            boxes[found[own]], priors[own]
        )
    return classes, offsets


def resizer(spec: ModelSpec) -> GeneralizedRCNNTransform:
    """Build what torchvision's models begin with: normalise, resize and stack images."""
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
    height, width = spec.input_size
    resize = resizer(spec)
    pixels = generate_priors(spec) * np.array((width, height, width, height), np.float32)
    priors = box_convert(torch.from_numpy(pixels), 'cxcywh', 'xyxy')
    loader = DataLoader(
        Photographs(samples, spec),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        collate_fn=_collate,
    )
    for images, targets in loader:
        batch, resized = resize(list(images), list(targets))
        goals = [match(one['boxes'], one['labels'], priors, matching) for one in resized]
        yield batch.tensors, *(torch.stack(part) for part in zip(*goals))


def _collate(items: Sequence[tuple[torch.Tensor, Target]]) -> tuple[tuple[object, ...], ...]:
    """Turn a list of pairs into a pair of lists."""
    return tuple(zip(*items))
