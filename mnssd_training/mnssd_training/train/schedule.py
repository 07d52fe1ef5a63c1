"""
Compute the learning rate and the input size of a training step.

Pure functions of the seed and the step: all ranks agree, and a resumed run needs no state of a
scheduler.
"""

from collections.abc import Iterable
import math

from mnssd_training.config import Experiment, SchedulerConfig
from mnssd_training.data.dataset import derive_seed
import numpy as np

ONE_CYCLE_START = 1 / 25  # of the peak (Smith and Topin, Super-Convergence, 2018)
SIZE_MULTIPLE = 32  # the coarsest stride of the backbone: its cells then tile the input


def lr_factor(step: int, num_steps: int, steps_per_epoch: int, config: SchedulerConfig) -> float:
    """Compute the factor in [0, 1] that scales the learning rate in a step, counted from 0."""
    final = config.final_lr_factor
    if config.name == 'onecycle':  # up along one cosine, its warm-up, then down along another
        progress = step / max(1, num_steps)
        if progress < config.pct_start:
            return 1 - (1 - ONE_CYCLE_START) * _half_cosine(progress / config.pct_start)
        fall = (progress - config.pct_start) / (1 - config.pct_start)
        return final + (1 - final) * _half_cosine(fall)
    warmup = min(config.warmup_steps, max(num_steps - 1, 0))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.name == 'cosine':
        progress = (step - warmup) / max(1, num_steps - warmup)
        return final + (1 - final) * _half_cosine(progress)
    if config.name == 'step':
        return config.gamma ** (step // steps_per_epoch // config.step_epochs)
    if config.name == 'multistep':
        return config.gamma ** sum(step >= part * num_steps for part in config.milestones)
    return 1.0


def _half_cosine(progress: float) -> float:
    # From 1 to 0 (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts).
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def input_size(step: int, num_steps: int, experiment: Experiment) -> tuple[int, int]:
    """
    Compute the (height, width) of the network input in a step, counted from 0, pixels.

    Progressive resizing and multi-scale training change it; the sides are then multiples of 32.
    """
    base = experiment.input.train_size or experiment.input.size
    config = experiment.training
    factor = 1.0
    for start, progressive_factor in config.progressive_resizing:
        if step >= start * num_steps:
            factor = progressive_factor
    low, high = config.multi_scale
    if low < high:
        factor *= np.random.default_rng(derive_seed(config.seed, 'size', step)).uniform(low, high)
    else:
        factor *= low
    if factor == 1.0:
        return base
    height, width = (
        max(SIZE_MULTIPLE, round(side * factor / SIZE_MULTIPLE) * SIZE_MULTIPLE) for side in base
    )
    return height, width


def input_sizes(num_steps: int, experiment: Experiment) -> list[tuple[int, int]]:
    """List the distinct input sizes of a run of at least one step, smallest first."""
    config = experiment.training
    steps: Iterable[int] = range(num_steps)
    if config.multi_scale[0] == config.multi_scale[1]:  # changes only where a phase starts
        starts = {0, *(math.ceil(start * num_steps) for start, _ in config.progressive_resizing)}
        steps = starts.intersection(steps)
    return sorted({input_size(step, num_steps, experiment) for step in steps})
