"""
Generate prior boxes, and lay out the feature maps of well-known detectors.

Priors (default boxes, anchors) lie level after level, row by row, cell by cell, size by size. Liu
et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2. Input sizes are (height, width)
in pixels.
"""

from functools import lru_cache
import hashlib
from itertools import product
from math import sqrt

from mnssd_perception.ssd.spec import feature_map, FeatureMap, ModelSpec
import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)  # as many input sizes as a training may draw from
def generate_priors(spec: ModelSpec) -> NDArray[np.float32]:
    """
    Generate the priors of a model.

    :return: ``(P, 4)`` float32, (centre x, centre y, width, height), each a fraction of the
        network input and clipped to [0, 1]; read-only, and shared between calls.
    """
    priors = np.concatenate([_level(spec.input_size, level) for level in spec.feature_maps])
    priors = np.clip(priors, 0.0, 1.0).astype(np.float32)
    priors.setflags(write=False)
    return priors


def _level(input_size: tuple[int, int], level: FeatureMap) -> NDArray[np.float64]:
    """Generate the priors of one level, ``(rows * columns * sizes, 4)``."""
    height, width = input_size
    rows, columns = level.shape
    sizes = np.array(level.sizes, np.float64)
    grid = np.empty((rows, columns, len(sizes), 4))
    grid[..., 0] = ((np.arange(columns) + 0.5) * level.stride[1] / width)[None, :, None]
    grid[..., 1] = ((np.arange(rows) + 0.5) * level.stride[0] / height)[:, None, None]
    grid[..., 2:] = sizes / (width, height)
    return grid.reshape(-1, 4)


def prior_digest(spec: ModelSpec) -> str:
    """
    Compute the digest of the priors of a model.

    Only additions, multiplications, divisions and a rounding to float32 make a prior of a size,
    all exact in IEEE 754, so that the digest is the same on every machine.

    :return: ``sha256:`` and 64 hexadecimal digits, over the little-endian float32 array.
    """
    return f'sha256:{hashlib.sha256(generate_priors(spec).astype("<f4").tobytes()).hexdigest()}'


def scale_sizes(
    input_size: tuple[int, int], pairs: list[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """
    Compute prior sizes from (scale, aspect ratio) pairs.

    :param pairs: scale as a fraction of the input, ratio as width over height.
    :return: (width, height) of each, pixels.
    """
    height, width = input_size
    return tuple((width * s * sqrt(r), height * s / sqrt(r)) for s, r in pairs)


def original_feature_maps(input_size: tuple[int, int]) -> tuple[FeatureMap, ...]:
    """
    Lay out the six levels of the pipeline that mnssd succeeds.

    Linear scales 0.20 to 0.95 over strides 8 to 224; every aspect ratio is crossed with the scale
    of the level and with the geometric mean of it and the next. 13502 priors at 300 x 300, 7280
    at 224 x 224.
    """
    scales = (0.20, 0.35, 0.50, 0.65, 0.80, 0.95, 1.0)
    few, many = (1.0, 2.0, 1 / 2), (1.0, 2.0, 3.0, 1 / 2, 1 / 3)
    levels = zip((8, 16, 32, 64, 128, 224), scales, scales[1:], (few, many, many, few, few, few))
    return tuple(
        feature_map(
            input_size,
            stride,
            scale_sizes(input_size, list(product((scale, sqrt(scale * next_scale)), ratios))),
        )
        for stride, scale, next_scale, ratios in levels
    )


def finetune_feature_maps(input_size: tuple[int, int]) -> tuple[FeatureMap, ...]:
    """
    Lay out six levels the way torchvision's ``DefaultBoxGenerator`` does for a MobileNetV2-SSD.

    Scales 0.10 to 0.95; a level has its scale, the geometric mean with the next, and each ratio
    with its inverse; cells divide the input evenly. 9602 priors at 320 x 320.
    """
    two, three = (2.0,), (2.0, 3.0)
    return _even_levels(
        input_size,
        8,
        (0.10, 0.20, 0.35, 0.50, 0.65, 0.80, 0.95),
        (two, three, three, three, two, two),
    )


def ssdlite_feature_maps(input_size: tuple[int, int]) -> tuple[FeatureMap, ...]:
    """
    Lay out the six levels of torchvision's SSDLite.

    Scales 0.20 to 0.95 over strides from 16 on, six priors a cell, as ``DefaultBoxGenerator``
    does. 3234 priors at 320 x 320.
    """
    scales = (0.20, 0.35, 0.50, 0.65, 0.80, 0.95, 1.0)
    return _even_levels(input_size, 16, scales, ((2.0, 3.0),) * 6)


def _even_levels(
    input_size: tuple[int, int],
    stride: int,
    scales: tuple[float, ...],
    ratios: tuple[tuple[float, ...], ...],
) -> tuple[FeatureMap, ...]:
    """Lay out levels that halve from a stride on and whose cells divide the input evenly."""
    levels = []
    shape = tuple(-(-side // stride) for side in input_size)
    for scale, next_scale, level_ratios in zip(scales, scales[1:], ratios):
        pairs = [(scale, 1.0), (sqrt(scale * next_scale), 1.0)]
        pairs += [(scale, r) for ratio in level_ratios for r in (ratio, 1 / ratio)]
        levels.append(
            FeatureMap(
                (shape[0], shape[1]),
                (input_size[0] / shape[0], input_size[1] / shape[1]),
                scale_sizes(input_size, pairs),
            )
        )
        shape = tuple(-(-side // 2) for side in shape)
    return tuple(levels)
