"""
The step of a run to its learning rate: a warm-up, then one of five curves.

Pure functions of the step, so that a resumed run needs no state of theirs.
"""

import math

from mnssd_training.config import SchedulerConfig

ONE_CYCLE_START = 1 / 25  # of the peak (Smith and Topin, Super-Convergence, 2018)


def rate_factor(step: int, total: int, steps_per_epoch: int, config: SchedulerConfig) -> float:
    """
    Tell by what the learning rate is multiplied.

    :param step: counted from 0.
    :param total: steps of the run.
    :param steps_an_epoch: steps of an epoch.
    :param config: which curve.
    :return: in [0, 1].
    """
    if config.name == 'onecycle':  # its rise is its warm-up
        return _one_cycle(step, total, config)
    warmup = min(config.warmup_steps, max(total - 1, 0))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.name == 'cosine':
        progress = (step - warmup) / max(1, total - warmup)
        return config.final_lr_factor + (1 - config.final_lr_factor) * _half_cosine(progress)
    if config.name == 'step':
        return config.gamma ** (step // steps_per_epoch // config.step_epochs)
    if config.name == 'multistep':
        return config.gamma ** sum(step >= part * total for part in config.milestones)
    return 1.0


def _half_cosine(progress: float) -> float:
    """Fall from 1 to 0 (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _one_cycle(step: int, total: int, config: SchedulerConfig) -> float:
    """Rise along a cosine, then fall along another (Smith and Topin, 2018)."""
    progress = step / max(1, total)
    if progress < config.pct_start:
        return 1 - (1 - ONE_CYCLE_START) * _half_cosine(progress / config.pct_start)
    fall = _half_cosine((progress - config.pct_start) / (1 - config.pct_start))
    return config.final_lr_factor + (1 - config.final_lr_factor) * fall
