"""The search for a batch size."""

from collections.abc import Callable
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.train import find_batch_size
from mnssd_training.train.find_batch_size import (
    BatchCost,
    measure_batch_sizes,
    suggest_batch_size,
)
import pytest
import torch

Make = Callable[..., Experiment]


def test_batch_size_doubles_up_to_the_limit(tiny: Make) -> None:
    found = list(measure_batch_sizes(tiny(), 4))
    assert [one.batch_size for one in found] == [1, 2, 4]
    assert all(one.images_per_second > 0 and one.memory > 2**20 for one in found)


def test_out_of_memory_ends_the_search(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> BatchCost:
        raise torch.OutOfMemoryError('full')

    monkeypatch.setattr(find_batch_size, '_measure', full)
    assert list(measure_batch_sizes(tiny(), 4)) == []
    monkeypatch.setattr(find_batch_size, '_measure', lambda *_: BatchCost(1, 1.0, 2**60))
    assert len(list(measure_batch_sizes(tiny(), 4))) == 1


def test_suggests_the_smallest_batch_size_near_full_speed() -> None:
    assert suggest_batch_size([]) == 0
    speeds = {1: 10.0, 2: 18.0, 4: 29.0, 8: 30.0, 16: 29.9}
    assert suggest_batch_size([BatchCost(num, speed, 0) for num, speed in speeds.items()]) == 4
