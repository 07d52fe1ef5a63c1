"""
Find a learning rate by the range test.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
"""

from contextlib import closing
from dataclasses import dataclass, replace
import math

from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.reporting import plots
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.optimizer import set_learning_rate
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import clip_gradients, forward_backward, next_batch
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

SMOOTHING = 0.9  # of the loss, from step to step
DIVERGED = 4.0  # times the lowest loss
MIN_STEPS = 10
MIN_FALL = 0.05  # of the loss: one that falls by less does not learn


@dataclass(frozen=True)
class LrRangeTest:
    """Losses while the learning rate rises; arrays are ``(N,)``, an element per step."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]  # moving average of the losses
    suggestion: float  # the learning rate at which the loss falls most steeply
    is_flat: bool = False  # the loss falls by no more than its noise: ignore the suggestion


def lr_range_test(
    experiment: Experiment,
    *,
    min_lr: float = 1e-6,
    max_lr: float = 1.0,
    num_steps: int = 100,
    progress: bool = True,
) -> LrRangeTest:
    """Raise the learning rate from step to step until the loss diverges; nothing is saved."""
    if not 0 < min_lr < max_lr or num_steps < MIN_STEPS:
        raise TrainingError(
            f'expected 0 < lowest < highest learning rate and at least {MIN_STEPS} steps, '
            f'got {min_lr:g}, {max_lr:g} and {num_steps}'
        )
    fabric = make_fabric(experiment.training)
    state = TrainState(fabric, experiment)
    plan = replace(state.plan, epochs=math.ceil(num_steps / state.plan.steps_per_epoch))
    rates = np.geomspace(min_lr, max_lr, num_steps)
    losses: list[float] = []
    with closing(state.read_steps(plan)) as steps:
        for rate in tqdm(rates.tolist(), 'learning rate', disable=None if progress else True):
            set_learning_rate(state.optimizer.param_groups, rate)
            state.optimizer.zero_grad(set_to_none=True)
            sums = forward_backward(state, next_batch(fabric, steps))
            clip_gradients(state)
            loss = float(fabric.all_reduce(sums, reduce_op='sum')[0])
            if not math.isfinite(loss):
                break
            state.optimizer.step()
            losses.append(loss)
            smoothed = smooth(losses)
            if len(losses) > MIN_STEPS and smoothed[-1] > DIVERGED * smoothed.min():
                break
    if len(losses) < MIN_STEPS:
        raise TrainingError(
            f'the loss diverges after {len(losses)} steps; start below {min_lr:g}, with --lowest'
        )
    values, rates, smoothed = np.array(losses), rates[: len(losses)], smooth(losses)
    suggestion = steepest_descent(rates, smoothed)
    return LrRangeTest(rates, values, smoothed, suggestion, is_flat(values, smoothed))


def smooth(losses: list[float]) -> NDArray[np.float64]:
    """Compute the exponential moving average with bias correction, as Adam does."""
    average, result = 0.0, []
    for count, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        result.append(average / (1 - SMOOTHING**count))
    return np.array(result)


def steepest_descent(rates: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float:
    """Find the learning rate at which the loss falls most steeply before its minimum (N >= 2)."""
    first = min(MIN_STEPS, len(rates) // 4)  # an average of few losses jumps
    slope = np.gradient(smoothed, np.log(rates))[first:]
    minimum = int(smoothed[first:].argmin())
    return float(rates[first + int(slope[: minimum + 1].argmin())])


def is_flat(losses: NDArray[np.float64], smoothed: NDArray[np.float64]) -> bool:
    """Tell whether the loss falls at no learning rate by more than its noise (N >= 2)."""
    first = min(MIN_STEPS, len(losses) // 4)  # as for the steepest descent
    fall = smoothed[first] - smoothed[first:].min()
    # Standard deviation of one loss by the differences of neighbours, which a trend or a
    # divergence at the end hardly changes: their median is 0.954 times as large.
    noise = np.median(np.abs(np.diff(losses))) / 0.954
    return bool(fall < max(MIN_FALL * abs(smoothed[first]), noise))


def plot_lr_range_test(test: LrRangeTest) -> NDArray[np.uint8]:
    """Plot the loss over the learning rate, as ``(600, 960, 3)`` uint8 RGB."""
    # A single loss that diverges would flatten the rest of the curve.
    top = max(float(np.percentile(test.losses, 98)), float(test.smoothed.max())) * 1.05
    index = int(np.abs(test.rates - test.suggestion).argmin())
    suggestion = (float(test.rates[index]), float(test.smoothed[index]))
    lines = [
        plots.Line(test.rates, test.losses, 'loss', plots.COLOURS[5], width=0.8),
        plots.Line(test.rates, test.smoothed, 'smoothed', plots.COLOURS[0], width=2.2),
        plots.Line([], [], '', plots.COLOURS[1], highlight=suggestion),
    ]
    chart = plots.line_chart(
        f'learning rate range test; steepest descent at {test.suggestion:.2e}',
        'learning rate',
        'loss',
        lines,
        x_range=None,
        y_range=(0, top),
        scales=('log', 'linear'),
    )
    return plots.chart_image(chart)
