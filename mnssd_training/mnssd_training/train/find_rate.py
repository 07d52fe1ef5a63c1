"""
An experiment to the learning rate that it can bear: the range test.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
"""

from contextlib import closing
from dataclasses import dataclass, replace
import math

from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train.batches import read_steps
from mnssd_training.train.devices import make_fabric
from mnssd_training.train.optimizer import set_rate
from mnssd_training.train.sizes import input_size
from mnssd_training.train.state import set_up
from mnssd_training.train.step import backward, device_priors, take
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

SMOOTHING = 0.9  # of the loss, from step to step
DIVERGED = 4.0  # times the best loss
FEWEST = 10  # steps that make a curve
FLAT = 0.05  # of the loss: one that falls by less does not learn


@dataclass(frozen=True)
class RangeTest:
    """
    How the loss goes while the learning rate rises.

    :ivar rates: ``(N,)`` float64, rising.
    :ivar losses: ``(N,)`` float64, of each step.
    :ivar smooth: ``(N,)`` float64, their moving average.
    :ivar suggestion: the rate at which the loss falls fastest.
    :ivar is_flat: the loss falls by no more than its noise, and the suggestion means nothing.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smooth: NDArray[np.float64]
    suggestion: float
    is_flat: bool = False


def find_rate(
    experiment: Experiment,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_steps: int = 100,
    progress: bool = True,
) -> RangeTest:
    """
    Raise the learning rate from step to step until the loss diverges.

    :param experiment: what would be trained; nothing of it is kept.
    :param lowest: first rate.
    :param highest: last rate, if the loss does not diverge before.
    :param num_steps: from the one to the other.
    :param progress: show a bar, where there is a terminal.
    :return: the curve and what it suggests.
    :raises TrainingError: if the range is none, or the loss diverges at once.
    """
    if not 0 < lowest < highest or num_steps < FEWEST:
        raise TrainingError(
            f'expected 0 < lowest < highest rate and at least {FEWEST} steps, '
            f'got {lowest:g}, {highest:g} and {num_steps}'
        )
    fabric = make_fabric(experiment.training)
    state = set_up(fabric, experiment)
    plan = replace(state.plan, epochs=math.ceil(num_steps / state.plan.steps_per_epoch))
    priors = device_priors(state.prepared.spec, fabric.device)
    limit = experiment.optimizer.clip_grad_norm or math.inf
    steps = read_steps(
        state.prepared.dataset,
        plan,
        start=0,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=experiment.training.workers,
        device=fabric.device,
        size_of=lambda step: input_size(step, plan.total, experiment),
    )
    rates = np.geomspace(lowest, highest, num_steps)
    losses: list[float] = []
    with closing(steps):
        for rate in tqdm(rates.tolist(), 'learning rate', disable=None if progress else True):
            set_rate(state.optimizer.param_groups, rate)
            state.optimizer.zero_grad(set_to_none=True)
            sums = backward(
                fabric, state.model, state.prepared.criterion, take(fabric, steps), priors
            )
            fabric.clip_gradients(
                state.model, state.optimizer, max_norm=limit, error_if_nonfinite=False
            )
            loss = float(fabric.all_reduce(sums, reduce_op='sum')[0])
            if not math.isfinite(loss):
                break
            state.optimizer.step()
            losses.append(loss)
            smooth = smoothed(losses)
            if len(losses) > FEWEST and smooth[-1] > DIVERGED * smooth.min():
                break
    if len(losses) < FEWEST:
        raise TrainingError(
            f'the loss diverges after {len(losses)} steps; begin at a rate below {lowest:g}'
        )
    rates = rates[: len(losses)]
    smooth = smoothed(losses)
    suggestion = steepest(rates, smooth)
    return RangeTest(
        rates, np.array(losses), smooth, suggestion, is_flat(np.array(losses), smooth)
    )


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Average over the last steps; the first ones are not drawn to zero."""
    average, result = 0.0, []
    for count, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        result.append(average / (1 - SMOOTHING**count))
    return np.array(result)


def steepest(rates: NDArray[np.float64], smooth: NDArray[np.float64]) -> float:
    """
    Find the rate at which the loss falls fastest, on the way to its lowest point.

    :param rates: ``(N,)`` rising, N at least 2.
    :param smooth: ``(N,)`` losses.
    :return: one of the rates.
    """
    first = min(FEWEST, len(rates) // 4)  # an average of few losses jumps
    slope = np.gradient(smooth, np.log(rates))[first:]
    lowest = int(smooth[first:].argmin())
    return float(rates[first + int(slope[: lowest + 1].argmin())])


def is_flat(losses: NDArray[np.float64], smooth: NDArray[np.float64]) -> bool:
    """
    Tell whether a loss falls at no rate, or by no more than noise makes an average of it fall.

    :param losses: ``(N,)`` of each step, N at least 2.
    :param smooth: ``(N,)``, their moving average.
    :return: whether there is nothing to choose a rate by.
    """
    first = min(FEWEST, len(losses) // 4)  # as for the steepest place
    fall = smooth[first] - smooth[first:].min()
    # Standard deviation of one loss by the differences of neighbours, which a trend or a
    # divergence at the end hardly changes: their median is 0.954 times as large.
    noise = np.median(np.abs(np.diff(losses))) / 0.954
    return bool(fall < max(FLAT * abs(smooth[first]), noise))
