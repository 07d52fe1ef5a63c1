"""Choose and load the images that quantisation measures the ranges of a network on."""

from collections.abc import Iterable, Sequence
import hashlib
from pathlib import Path

from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_perception.ssd import ModelSpec, resize_frame, resize_transform
from mnssd_training.data.sample import load_image, read_image, Sample
from mnssd_training.errors import DatasetError, ExportError
import numpy as np
from numpy.typing import NDArray

CANDIDATES = 4  # images to decode for each one that is chosen: brightness is not annotated
BRIGHTNESS_STEP = 32  # grey levels
SMALLEST_OCTAVE = -7  # boxes of less than 1/64 of the image count as one size

# How much more a property counts that one image less has shown so far. An image must show this
# many common properties to outweigh one rare one, and few have so many.
RARITY = 16.0

Property = tuple[str, int, int]
NO_OBJECTS: Property = ('no objects', 0, 0)


def choose_calibration_samples(samples: Sequence[Sample], num: int) -> list[Sample]:
    """
    Choose images that cover the classes, box sizes and brightness of a dataset.

    Greedy: each image is the one with the most of what the chosen ones have shown least; the first
    is one without objects, if there is any. The choice depends on neither chance nor order.

    :param num: of images to choose, at least 1.
    :return: in the order of the choice.
    :raises ExportError: if there are fewer samples.
    :raises DatasetError: if an image cannot be read.
    """
    if not 1 <= num <= len(samples):
        raise ExportError(
            f'expected at least {max(num, 1)} training images to calibrate the quantisation on, '
            f'got {len(samples)}; ask for fewer, or name a folder with --calibration-images'
        )
    ordered = sorted(samples, key=lambda sample: sample.name)
    annotated = [_annotated_properties(sample) for sample in ordered]
    indices = _cover(annotated, min(CANDIDATES * num, len(ordered)))
    candidates = [ordered[index] for index in indices]
    shown = [annotated[index] | {_brightness(ordered[index])} for index in indices]
    return [candidates[index] for index in _cover(shown, num)]


def load_calibration_images(
    source: Sequence[Sample] | Path, spec: ModelSpec
) -> list[NDArray[np.uint8]]:
    """
    Load images as the inputs that the drone would make of them.

    :param source: samples, or a folder, of which all images are taken in the order of their names.
    :return: ``(H, W, 3)`` uint8 RGB of the input size each.
    :raises ExportError: if there is no sample.
    :raises DatasetError: if the folder has no images, or naming an image that cannot be read.
    """
    if isinstance(source, Path):
        images: Iterable[NDArray[np.uint8]] = map(read_image, list_calibration_images(source))
    elif not source:
        raise ExportError('expected images to calibrate the quantisation on, got none')
    else:
        images = map(load_image, source)
    return [
        resize_frame(image, resize_transform(image.shape[:2], spec.input_size, spec.resize))
        for image in images
    ]


def calibration_digest(images: Iterable[NDArray[np.uint8]]) -> str:
    """Compute the digest ``sha256:...`` of network inputs and their order."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr(image.shape).encode())
        digest.update(image.tobytes())
    return f'sha256:{digest.hexdigest()}'


def list_calibration_images(folder: Path) -> list[Path]:
    """List the images of a folder by name; one without images is a :class:`DatasetError`."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(folder, f'cannot list the folder: {error.strerror}') from error
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DatasetError(
            folder,
            'expected images to calibrate the quantisation on, found none; '
            f'supported are {", ".join(sorted(IMAGE_SUFFIXES))}',
        )
    return images


def _annotated_properties(sample: Sample) -> set[Property]:
    """List the classes of an image with the octaves of their box sizes, relative to the image."""
    if not len(sample.boxes):
        return {NO_OBJECTS}
    sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]).astype(np.float64)
    areas = np.maximum(sides.prod(axis=1), 1e-6) / np.prod(sample.size)
    octaves = np.maximum(np.floor(np.log2(areas) / 2), SMALLEST_OCTAVE).astype(int)
    pairs = zip(sample.labels.tolist(), octaves.tolist())
    return {('class and size', label, octave) for label, octave in pairs}


def _brightness(sample: Sample) -> Property:
    return 'brightness', int(load_image(sample).mean() // BRIGHTNESS_STEP), 0


def _cover(items: Sequence[set[Property]], num: int) -> list[int]:
    """Choose the indices of ``num`` items, see :func:`choose_calibration_samples`."""
    properties = sorted(set().union(*items))
    has = np.array([[key in item for key in properties] for item in items])  # (N, K)
    num_shown = np.zeros(len(properties))
    is_left = np.ones(len(items), bool)
    chosen: list[int] = []
    while len(chosen) < num:
        rarest = num_shown[has[is_left].any(axis=0)].min()
        gain = has @ RARITY ** np.minimum(rarest - num_shown, 0)
        if not chosen and NO_OBJECTS in properties:
            gain = gain * has[:, properties.index(NO_OBJECTS)]
        index = int(np.where(is_left, gain, -1).argmax())
        chosen.append(index)
        is_left[index] = False
        num_shown += has[index]
    return chosen
