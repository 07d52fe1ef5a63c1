"""The learning rate range test and its plot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnssd_training.cli import find_lr
from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.reporting import plots
from mnssd_training.train import find_lr as module
from mnssd_training.train.find_lr import (
    is_flat,
    lr_range_test,
    LrRangeTest,
    plot_lr_range_test,
    smooth,
    steepest_descent,
)
import numpy as np
import pytest
import torch

Make = Callable[..., Experiment]


def test_steepest_descent_of_a_sigmoid() -> None:
    rates = np.geomspace(1e-5, 1, 101)
    fall = 5 - 3 / (1 + np.exp(-6 * (np.log10(rates) + 3)))  # steepest_descent at 1e-3
    losses = fall + 40 * np.maximum(0, np.log10(rates) + 1) ** 2
    assert steepest_descent(rates, losses) == pytest.approx(1e-3, rel=0.05)
    assert steepest_descent(rates, rates) in rates  # it only rises


def test_is_flat_compares_fall_and_noise() -> None:
    generator = np.random.default_rng(7)
    rates = np.geomspace(1e-6, 1, 100)
    fall = 5 - 3 / (1 + np.exp(-3 * (np.log10(rates) + 3)))
    diverging = np.where(rates > 0.3, 40.0, 0.0)
    for scale in (0.0, 0.3):
        noise = generator.normal(0, scale, len(rates))
        for losses, expected in (
            (4 + 0 * rates, True),
            (4 + diverging, True),
            (4 + 3 * rates, True),  # it only rises
            (fall, False),
            (fall + diverging, False),
        ):
            noisy = losses + noise
            assert is_flat(noisy, smooth(list(noisy))) == expected


def test_flat_loss_is_a_warning(
    hit_uav: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rates = np.geomspace(1e-6, 1, 20)
    for flat in (True, False):
        test = LrRangeTest(rates, rates, rates, 1e-3, flat)
        monkeypatch.setattr(find_lr, 'lr_range_test', lambda *_, test=test, **__: test)
        arguments = ['smoke', f'data.root={hit_uav}', '--output', str(tmp_path / 'plot.png')]
        assert find_lr.main(arguments) == 0
        err = capsys.readouterr().err
        assert ('warning: the loss hardly falls' in err) == flat
        assert ('(mnssd dataset preview ' in err) == flat


def test_lr_range_test_raises_the_rate_to_the_end(tiny: Make) -> None:
    test = lr_range_test(tiny(), min_lr=1e-5, max_lr=1e-2, num_steps=10, progress=False)
    assert test.rates == pytest.approx(np.geomspace(1e-5, 1e-2, 10))
    assert len(test.losses) == len(test.smoothed) == 10
    assert np.isfinite(test.losses).all()
    assert test.suggestion in test.rates


@pytest.mark.parametrize('after', [4, 14])
def test_diverging_loss_ends_the_range_test(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls = iter(range(100))

    def explode(*args: Any) -> torch.Tensor:
        for parameter in args[0].network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.tensor([1.0 if next(calls) < after else torch.inf, 0.0, 0.0])

    monkeypatch.setattr(module, 'forward_backward', explode)
    if after < 10:
        with pytest.raises(TrainingError, match='diverges after 4 steps; start below'):
            lr_range_test(tiny(), num_steps=50, progress=False)
    else:
        assert len(lr_range_test(tiny(), num_steps=50, progress=False).rates) == 14


@pytest.mark.parametrize('change', [{'min_lr': 0.0}, {'min_lr': 2.0}, {'num_steps': 3}], ids=str)
def test_invalid_range_is_refused(tiny: Make, change: dict[str, Any]) -> None:
    with pytest.raises(
        TrainingError, match='expected 0 < lowest < highest learning rate and at least 10'
    ):
        lr_range_test(tiny(), **change)


def test_plot_marks_the_suggestion() -> None:
    rates = np.geomspace(1e-6, 1, 50)
    losses = np.linspace(5, 2, 50)
    image = plot_lr_range_test(LrRangeTest(rates, losses, losses, float(rates[25])))
    assert image.shape == (600, 960, 3)

    def pixels(colour: str) -> tuple[np.ndarray, np.ndarray]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return np.nonzero((image == rgb).all(axis=-1))  # type: ignore[return-value]

    line_rows, line_columns = pixels(plots.COLOURS[0])
    rows, columns = pixels(plots.COLOURS[1])
    span = line_columns.max() - line_columns.min()
    assert abs(columns.mean() - (line_columns.min() + span * 25 / 49)) < 3
    assert line_rows.min() < rows.mean() < line_rows.max()
