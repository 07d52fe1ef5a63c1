"""Samples to the figures of a dataset."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_training.data.sample import Sample
from mnssd_training.priors import measure_box_sizes
import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95)
SIZE_LIMITS = (32.0, 96.0)  # pixels, root of the area: small, medium, large, as COCO has them
BINS = (18, 24)  # rows and columns of a map of centres


@dataclass(frozen=True)
class ClassStats:
    """
    The objects of one class in one split.

    Sizes are roots of areas; percentiles are those of :data:`PERCENTILES`.

    :ivar num_boxes: objects, without ignore regions.
    :ivar num_images: images that show one.
    :ivar num_ignored: ignore regions of this class.
    :ivar width: percentiles, pixels of the image.
    :ivar height: percentiles, pixels of the image.
    :ivar size: percentiles, pixels of the image.
    :ivar aspect: percentiles of width over height.
    :ivar in_source: number of small, medium and large ones in the image.
    :ivar in_network: the same in the network input; empty where that is not known.
    :ivar histogram: objects by size, in steps of half an octave from 1 pixel on.
    """

    num_boxes: int
    num_images: int
    num_ignored: int
    width: tuple[float, ...]
    height: tuple[float, ...]
    size: tuple[float, ...]
    aspect: tuple[float, ...]
    in_source: tuple[int, ...]
    in_network: tuple[int, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class SplitStats:
    """
    One split.

    :ivar num_images: all of them.
    :ivar num_empty: images without an object.
    :ivar image_sizes: (width, height) and number of images, most frequent first.
    :ivar boxes_an_image: number of images by number of objects, from 0 on.
    :ivar classes: by name, in the order of their labels.
    :ivar centres: map of :data:`BINS` of where objects are, rows from the top.
    """

    num_images: int
    num_empty: int
    image_sizes: tuple[tuple[tuple[int, int], int], ...]
    boxes_per_image: tuple[int, ...]
    classes: dict[str, ClassStats]
    centres: tuple[tuple[int, ...], ...]


def measure(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    input_size: tuple[int, int] | None = None,
    resize: Literal['stretch', 'letterbox'] = 'stretch',
) -> SplitStats:
    """
    Measure one split.

    :param samples: its images.
    :param class_names: in the order of their labels.
    :param input_size: (height, width) of the network input, pixels; None if there is no network.
    :param resize: how images are brought to that size.
    :return: the figures.
    """
    numbers = Counter(len(sample.boxes) for sample in samples)
    sizes = Counter((sample.size[1], sample.size[0]) for sample in samples)
    labels = _join([sample.labels for sample in samples], np.int64)
    hidden = _join([sample.ignore_labels for sample in samples], np.int64)
    sides = _join([s.boxes[:, 2:] - s.boxes[:, :2] for s in samples], np.float64).reshape(-1, 2)
    inside = measure_box_sizes(samples, input_size, resize) if input_size else None
    shown = Counter(label for sample in samples for label in set(sample.labels.tolist()))
    classes = {
        name: _measure_class(
            sides[labels == label],
            None if inside is None else inside[labels == label],
            shown[label],
            int((hidden == label).sum()),
        )
        for label, name in enumerate(class_names)
    }
    return SplitStats(
        len(samples),
        numbers[0],
        tuple(sizes.most_common()),
        tuple(numbers[number] for number in range(max(numbers, default=-1) + 1)),
        classes,
        _map_centres(samples),
    )


def _measure_class(
    sides: NDArray[np.float64],
    inside: NDArray[np.float64] | None,
    num_images: int,
    num_ignored: int,
) -> ClassStats:
    """Measure the objects of one class."""
    size = np.sqrt(sides.prod(axis=1))
    steps = np.floor(2 * np.log2(np.maximum(size, 1))).astype(np.int64)
    return ClassStats(
        len(sides),
        num_images,
        num_ignored,
        _percentiles(sides[:, 0]),
        _percentiles(sides[:, 1]),
        _percentiles(size),
        _percentiles(sides[:, 0] / sides[:, 1]),
        _by_size(size),
        () if inside is None else _by_size(np.sqrt(inside.prod(axis=1))),
        tuple(np.bincount(steps).tolist()),
    )


def _by_size(size: NDArray[np.float64]) -> tuple[int, ...]:
    """Count small, medium and large ones."""
    return tuple(np.bincount(np.digitize(size, SIZE_LIMITS), minlength=3).tolist())


def _percentiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Give the percentiles of some values; none for no values."""
    if not len(values):
        return ()
    return tuple(round(float(value), 3) for value in np.percentile(values, PERCENTILES))


def _map_centres(samples: Sequence[Sample]) -> tuple[tuple[int, ...], ...]:
    """Count the centres of objects by where they are in their image."""
    rows, columns = BINS
    counts = np.zeros(BINS, np.int64)
    for sample in samples:
        centres = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 / np.array(sample.size[::-1])
        column = np.minimum((centres[:, 0] * columns).astype(np.int64), columns - 1)
        row = np.minimum((centres[:, 1] * rows).astype(np.int64), rows - 1)
        np.add.at(counts, (row, column), 1)
    return tuple(tuple(line) for line in counts.tolist())


def _join(parts: Sequence[NDArray], dtype: type) -> NDArray:
    """Join arrays, of which there may be none."""
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)


def text_of(stats: Mapping[str, SplitStats]) -> str:
    """
    Lay the figures out.

    :param stats: by split.
    :return: several lines.
    """
    return '\n\n'.join(_split_text(name, split) for name, split in stats.items())


def _split_text(name: str, split: SplitStats) -> str:
    """Lay the figures of one split out."""
    numbers = np.repeat(np.arange(len(split.boxes_per_image)), split.boxes_per_image)
    total = int(numbers.sum())
    a_image = f'{numbers.mean():.1f} an image, at most {numbers.max()}' if len(numbers) else ''
    shown = ', '.join(f'{w} x {h} ({n})' for (w, h), n in split.image_sizes[:4])
    more = f' and {len(split.image_sizes) - 4} more' if len(split.image_sizes) > 4 else ''
    head = (
        f'{"class":<24}{"boxes":>8}{"images":>8}{"ignored":>8}{"median w x h":>16}'
        f'{"size, 5 to 95 %":>18}{"w/h":>6}{"small, medium, large":>24}{"in the network":>22}'
    )
    lines = [
        f'{name}: {split.num_images} images, {split.num_empty} of them without objects; '
        f'{total} objects, {a_image}',
        f'image sizes: {shown}{more}',
        head,
    ]
    for class_name, one in split.classes.items():
        row = f'{class_name:<24}{one.num_boxes:>8}{one.num_images:>8}{one.num_ignored:>8}'
        if one.num_boxes:
            row += f'{f"{one.width[2]:.0f} x {one.height[2]:.0f}":>16}'
            row += f'{f"{one.size[0]:.0f} to {one.size[-1]:.0f}":>18}{one.aspect[2]:>6.2f}'
            row += f'{", ".join(map(str, one.in_source)):>24}'
            row += f'{", ".join(map(str, one.in_network)) or "-":>22}'
        lines.append(row)
    return '\n'.join(lines)
