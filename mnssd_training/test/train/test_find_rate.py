"""The learning-rate range test, its plot, and the search for a batch size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnssd_training.cli import find_lr
from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.reporting import plots
from mnssd_training.train import find_batch
from mnssd_training.train import find_rate as module
from mnssd_training.train.find_batch import measure_batches, Measured, suggest
from mnssd_training.train.find_rate import (
    find_rate,
    is_flat,
    RangeTest,
    smoothed,
    steepest,
)
from mnssd_training.train.plot import plot
import numpy as np
import pytest
import torch

Make = Callable[..., Experiment]


def test_the_steepest_place_of_a_curve() -> None:
    rates = np.geomspace(1e-5, 1, 101)
    fall = 5 - 3 / (1 + np.exp(-6 * (np.log10(rates) + 3)))  # steepest at 1e-3
    losses = fall + 40 * np.maximum(0, np.log10(rates) + 1) ** 2
    assert steepest(rates, losses) == pytest.approx(1e-3, rel=0.05)
    assert steepest(rates, rates) in rates  # it only rises


def test_a_flat_loss_is_told_from_one_that_falls() -> None:
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
            assert is_flat(noisy, smoothed(list(noisy))) == expected


def test_a_flat_loss_is_a_warning(
    hit_uav: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rates = np.geomspace(1e-6, 1, 20)
    for flat in (True, False):
        test = RangeTest(rates, rates, rates, 1e-3, flat)
        monkeypatch.setattr(find_lr, 'find_rate', lambda *_, test=test, **__: test)
        arguments = ['smoke', f'data.root={hit_uav}', '--output', str(tmp_path / 'plot.png')]
        assert find_lr.main(arguments) == 0
        err = capsys.readouterr().err
        assert ('warning: the loss hardly falls' in err) == flat
        assert ('(mnssd dataset preview ' in err) == flat


def test_a_run_raises_the_rate_until_the_end(tiny: Make) -> None:
    test = find_rate(tiny(), lowest=1e-5, highest=1e-2, num_steps=10, progress=False)
    assert test.rates == pytest.approx(np.geomspace(1e-5, 1e-2, 10))
    assert len(test.losses) == len(test.smooth) == 10
    assert np.isfinite(test.losses).all()
    assert test.suggestion in test.rates


@pytest.mark.parametrize('after', [4, 14])
def test_a_loss_that_diverges_ends_it(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls = iter(range(100))

    def explode(*args: Any) -> torch.Tensor:
        for parameter in args[1].parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.tensor([1.0 if next(calls) < after else torch.inf, 0.0, 0.0])

    monkeypatch.setattr(module, 'backward', explode)
    if after < 10:
        with pytest.raises(TrainingError, match='diverges after 4 steps; begin at a rate below'):
            find_rate(tiny(), num_steps=50, progress=False)
    else:
        assert len(find_rate(tiny(), num_steps=50, progress=False).rates) == 14


@pytest.mark.parametrize('change', [{'lowest': 0.0}, {'lowest': 2.0}, {'num_steps': 3}], ids=str)
def test_a_range_that_is_none(tiny: Make, change: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match='expected 0 < lowest < highest rate and at least 10'):
        find_rate(tiny(), **change)


def test_the_plot_marks_the_suggestion() -> None:
    rates = np.geomspace(1e-6, 1, 50)
    losses = np.linspace(5, 2, 50)
    image = plot(RangeTest(rates, losses, losses, float(rates[25])))
    assert image.shape == (600, 960, 3)

    def pixels(colour: str) -> tuple[np.ndarray, np.ndarray]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return np.nonzero((image == rgb).all(axis=-1))  # type: ignore[return-value]

    line_rows, line_columns = pixels(plots.COLOURS[0])
    rows, columns = pixels(plots.COLOURS[1])
    span = line_columns.max() - line_columns.min()
    assert abs(columns.mean() - (line_columns.min() + span * 25 / 49)) < 3
    assert line_rows.min() < rows.mean() < line_rows.max()


def test_batches_double_up_to_the_limit(tiny: Make) -> None:
    found = list(measure_batches(tiny(), 4))
    assert [one.batch_size for one in found] == [1, 2, 4]
    assert all(one.images_per_second > 0 and one.memory > 2**20 for one in found)


def test_memory_that_is_full_ends_it(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Measured:
        raise torch.OutOfMemoryError('full')

    monkeypatch.setattr(find_batch, '_measure', full)
    assert list(measure_batches(tiny(), 4)) == []
    monkeypatch.setattr(find_batch, '_measure', lambda *_: Measured(1, 1.0, 2**60))
    assert len(list(measure_batches(tiny(), 4))) == 1


def test_the_smallest_that_is_nearly_the_fastest() -> None:
    assert suggest([]) == 0
    speeds = {1: 10.0, 2: 18.0, 4: 29.0, 8: 30.0, 16: 29.9}
    assert suggest([Measured(num, speed, 0) for num, speed in speeds.items()]) == 4
