"""
The step of a run to the size of its network input: progressive resizing and multi-scale.

A pure function of the seed and the step, so that all processes and a resumed run agree.
"""

from collections.abc import Iterable
import math

from mnssd_training.config import Experiment
from mnssd_training.data.dataset import derive_seed
import numpy as np

MULTIPLE = 32  # the coarsest stride of the backbone: its cells then tile the input


def input_size(step: int, total: int, experiment: Experiment) -> tuple[int, int]:
    """
    Tell how large a network input is in training.

    :param step: counted from 0.
    :param total: steps of the run.
    :param experiment: with ``input``, ``training.multi_scale`` and
        ``training.progressive_resizing``.
    :return: (height, width), pixels; multiples of 32 unless it is the plain size.
    """
    base = experiment.input.train_size or experiment.input.size
    config = experiment.training
    factor = 1.0
    for part, progressive in config.progressive_resizing:
        if step >= part * total:
            factor = progressive
    low, high = config.multi_scale
    if low < high:
        factor *= np.random.default_rng(derive_seed(config.seed, 'size', step)).uniform(low, high)
    else:
        factor *= low
    if factor == 1.0:
        return base
    height, width = (max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE) for side in base)
    return height, width


def input_sizes(total: int, experiment: Experiment) -> list[tuple[int, int]]:
    """
    List the sizes that a run will see.

    :param total: steps of the run, at least 1.
    :param experiment: see :func:`input_size`.
    :return: (height, width) of each, pixels, the smallest first.
    """
    config = experiment.training
    steps: Iterable[int] = range(total)
    if config.multi_scale[0] == config.multi_scale[1]:  # nothing is drawn: it changes at the parts
        starts = {0, *(math.ceil(part * total) for part, _ in config.progressive_resizing)}
        steps = starts.intersection(steps)
    return sorted({input_size(step, total, experiment) for step in steps})
