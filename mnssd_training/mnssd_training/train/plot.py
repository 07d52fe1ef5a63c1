"""Plot a learning-rate range test."""

from mnssd_training.reporting import plots
from mnssd_training.train.find_rate import RangeTest
import numpy as np
from numpy.typing import NDArray


def plot(test: RangeTest) -> NDArray[np.uint8]:
    """Plot the loss over the learning rate as ``(600, 960, 3)`` uint8 RGB."""
    top = max(float(np.percentile(test.losses, 98)), float(test.smooth.max())) * 1.05
    index = int(np.abs(test.rates - test.suggestion).argmin())
    suggestion = (float(test.rates[index]), float(test.smooth[index]))
    lines = [
        plots.Line(test.rates, test.losses, 'loss', plots.COLOURS[5], width=0.8),
        plots.Line(test.rates, test.smooth, 'smoothed', plots.COLOURS[0], width=2.2),
        plots.Line([], [], '', plots.COLOURS[1], highlight=suggestion),
    ]
    title = f'loss over learning rate; steepest at {test.suggestion:.2e}'
    chart = plots.line_chart(
        title,
        'learning rate',
        'loss',
        lines,
        x_range=None,
        y_range=(0, top),
        scales=('log', 'linear'),
    )
    return plots.chart_image(chart)
