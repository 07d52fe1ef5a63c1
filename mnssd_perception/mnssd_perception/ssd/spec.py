"""
The specification of a network: what it expects and returns.

Training writes it into every checkpoint and every bundle, and the drone reads it. Priors are
never stored: they are computed from the specification (:mod:`mnssd_perception.ssd.priors`) and
checked against its digest.
"""

from dataclasses import dataclass
import math
from typing import Literal

from mnssd_perception.errors import SpecError

MAX_SIDE = 8192  # pixels; beyond it is a mistake, not a network input
MAX_PIXELS = 2**24  # of a network input: 50 MB, and as much again inside the engine
MAX_LOGITS = 2**25  # 130 MB
MAX_IMAGE_SIDE = 32766  # pixels; above it OpenCV's remapping overflows
MAX_PRIORS = 1_000_000


@dataclass(frozen=True)
class FeatureMap:
    """
    One level of priors: a grid of cells, each with the same prior boxes.

    :ivar shape: (rows, columns) of the grid.
    :ivar stride: (y, x) distance of cell centres, pixels of the network input.
    :ivar sizes: (width, height) of each prior of a cell, pixels of the network input.
    """

    shape: tuple[int, int]
    stride: tuple[float, float]
    sizes: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise SpecError(f'expected a grid of at least one cell, got {self.shape}')
        if not all(math.isfinite(side) and side > 0 for side in self.stride):
            raise SpecError(f'expected positive strides, got {self.stride}')
        if not self.sizes:
            raise SpecError('expected at least one prior size a feature map, got none')
        for size in self.sizes:
            if not all(math.isfinite(side) and side > 0 for side in size):
                raise SpecError(f'expected prior sizes greater than 0, got {size}')

    @property
    def num_priors(self) -> int:
        """Number of priors of this level."""
        return self.shape[0] * self.shape[1] * len(self.sizes)


def feature_map(
    input_size: tuple[int, int], stride: int, sizes: tuple[tuple[float, float], ...]
) -> FeatureMap:
    """
    Lay out the level that a convolutional stack of a stride computes from an input.

    :param stride: distance of cell centres, pixels; the grid is rounded up.
    """
    rows, columns = (-(-side // stride) for side in input_size)
    return FeatureMap((rows, columns), (float(stride), float(stride)), sizes)


@dataclass(frozen=True)
class Normalisation:
    """
    The colour normalisation that is inside the network: (value / 255 - mean) / std.

    The default is that of ImageNet, RGB.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.mean)):
            raise SpecError(f'expected a finite mean, got {self.mean}')
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise SpecError(f'expected a std greater than 0, got {self.std}')


@dataclass(frozen=True)
class ModelSpec:
    """
    Everything that pre- and post-processing need to know about a network.

    The network takes one uint8 RGB image (height, width, 3) and returns raw heads: ``logits``
    (P, C + 1), column 0 the background, and ``offsets`` (P, 4), both float32.

    :ivar input_size: (height, width) of the network input, pixels.
    :ivar resize: how an image is resized to it.
    :ivar normalisation: what the network does to colours, for the record.
    :ivar class_names: names of the C classes; labels count from 0 in this order.
    :ivar feature_maps: the levels of priors, finest first.
    :ivar variances: (centre, size) divisors of the box coding.
    """

    input_size: tuple[int, int]
    class_names: tuple[str, ...]
    feature_maps: tuple[FeatureMap, ...]
    resize: Literal['stretch', 'letterbox'] = 'stretch'
    normalisation: Normalisation = Normalisation()
    variances: tuple[float, float] = (0.1, 0.2)

    def __post_init__(self) -> None:
        if not all(1 <= side <= MAX_SIDE for side in self.input_size):
            raise SpecError(f'expected sides of 1 to {MAX_SIDE} pixels, got {self.input_size}')
        if self.input_size[0] * self.input_size[1] > MAX_PIXELS:
            raise SpecError(f'expected at most {MAX_PIXELS} pixels, got {self.input_size}')
        if not self.class_names:
            raise SpecError('expected at least one class, got none')
        if len(set(self.class_names)) != len(self.class_names):
            raise SpecError(f'expected class names that differ, got {self.class_names}')
        if any(not name.strip() or not name.isprintable() for name in self.class_names):
            raise SpecError(f'expected printable class names, got {self.class_names}')
        if not self.feature_maps:
            raise SpecError('expected at least one feature map, got none')
        if not all(math.isfinite(value) and value > 0 for value in self.variances):
            raise SpecError(f'expected variances greater than 0, got {self.variances}')
        if self.num_priors > MAX_PRIORS:
            raise SpecError(f'expected at most {MAX_PRIORS} priors, got {self.num_priors}')
        if self.num_priors * (self.num_classes + 1) > MAX_LOGITS:
            raise SpecError(
                f'expected at most {MAX_LOGITS} logits, got {self.num_priors} priors of '
                f'{self.num_classes} classes'
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, without the background."""
        return len(self.class_names)

    @property
    def num_priors(self) -> int:
        """Number of priors of all levels."""
        return sum(level.num_priors for level in self.feature_maps)
