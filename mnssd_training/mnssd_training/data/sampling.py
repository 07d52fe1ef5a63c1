"""Balance classes and conditions: how often an epoch shows each training image."""

from collections import Counter
from collections.abc import Iterator, Sequence
import re

from mnssd_training.config.sections import SamplingConfig
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ConfigError
import numpy as np
from numpy.typing import NDArray

Draws = NDArray[np.float64]  # (N,) expected number of times that an epoch shows each image


def expected_draws(samples: Sequence[Sample], config: SamplingConfig) -> Draws | None:
    """
    Compute how often an epoch shows each image, on average.

    Repeat factor sampling (Gupta et al., LVIS, CVPR 2019) within each group; then the share of a
    group is its share of the images to the power of ``1 - balance``.

    :return: with the sum N, or None for each image once.
    :raises ConfigError: if the pattern of the groups does not fit the names of the images.
    """
    if not config.repeat_threshold and not config.groups:
        return None
    weights = _repeat_factors(samples, config.repeat_threshold)
    if config.groups:
        groups = group_ids(samples, config.groups)
        weights *= np.bincount(groups, weights)[groups] ** -config.balance
    return weights * (len(samples) / weights.sum())


def _repeat_factors(samples: Sequence[Sample], threshold: float) -> NDArray[np.float64]:
    """Compute the repeat factor of each image, at least 1, ``(N,)``."""
    classes = [set(sample.labels.tolist()) for sample in samples]
    num_images = Counter(label for labels in classes for label in labels)
    factors = {
        label: max(1.0, (threshold * len(samples) / num) ** 0.5)
        for label, num in num_images.items()
    }
    return np.array([max((factors[label] for label in labels), default=1.0) for labels in classes])


def group_ids(samples: Sequence[Sample], pattern: str) -> NDArray[np.int64]:
    """
    Divide images by the named groups of a regular expression, ``(N,)``, numbers from 0.

    :param pattern: empty for a single group.
    """
    keys = _group_keys(samples, pattern)
    numbers = {key: number for number, key in enumerate(sorted(set(keys), key=str))}
    return np.array([numbers[key] for key in keys], np.int64)


def _group_keys(samples: Sequence[Sample], pattern: str) -> list[tuple[str | None, ...]]:
    compiled = re.compile(pattern)
    names = list(compiled.groupindex)
    matches = [compiled.search(sample.name) for sample in samples]
    unmatched = [sample.name for sample, match in zip(samples, matches) if match is None]
    if unmatched:
        raise ConfigError(
            f'data.sampling.groups: expected a pattern for all {len(samples)} training images, '
            f'got {pattern!r}, which is not found in {len(unmatched)} names, such as '
            f'{unmatched[0]!r}; append "|" to make them a group of their own'
        )
    keys = [match.group(*names, names[0])[:-1] if names else () for match in matches if match]
    for name, values in zip(names, zip(*keys)):
        if all(value is None for value in values):
            raise ConfigError(
                f'data.sampling.groups: expected images in each group, got none in {name!r}; '
                f'remove it from {pattern!r}'
            )
    return keys


def describe_sampling(
    samples: Sequence[Sample], class_names: Sequence[str], config: SamplingConfig
) -> Iterator[str]:
    """Describe the shares of each group and of images with each class, before and after."""
    draws = expected_draws(samples, config)
    if draws is None:
        return
    yield f'an epoch shows an image {draws.min():.2f} to {draws.max():.2f} times'
    keys = np.array(_group_keys(samples, config.groups), object).reshape(len(samples), -1)
    for name, values in zip(re.compile(config.groups).groupindex, keys.T):
        shares = [
            f'{value or name} {_share(values == value, draws)}'
            for value in sorted({value for value in values if value is not None})
        ]
        yield f'{name}: {", ".join(shares)}'
    shows = [[label in sample.labels for sample in samples] for label in range(len(class_names))]
    shares = [f'{name} {_share(np.array(row), draws)}' for name, row in zip(class_names, shows)]
    yield f'images with {", ".join(shares)}'


def _share(is_member: NDArray[np.bool_], draws: Draws) -> str:
    before, after = is_member.mean(), draws[is_member].sum() / len(draws)
    return f'{100 * before:.1f} -> {100 * after:.1f} %'
