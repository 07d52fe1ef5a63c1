"""The learning rate of a step: warm-up, then half a cosine."""

import math

__all__ = ['learning_rate_factor']


def learning_rate_factor(step: int, total: int, warmup: int, final: float) -> float:
    """
    Tell by what the learning rate is multiplied.

    Loshchilov and Hutter, SGDR, ICLR 2017, without restarts.

    :param step: counted from 0.
    :param total: steps of the run.
    :param warmup: steps of linear rise.
    :param final: factor at the end.
    :return: in (0, 1].
    """
    warmup = min(warmup, max(total - 1, 0))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
