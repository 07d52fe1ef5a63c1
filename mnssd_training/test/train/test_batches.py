"""How the images of a run are divided into batches."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import Experiment
from mnssd_training.errors import ConfigError
from mnssd_training.train.batches import BatchPlan, micro_batch_keys, plan_batches
import numpy as np
import pytest


def keys(
    num: int,
    batch: int,
    epochs: int,
    parts: int,
    world: int = 1,
    rank: int = 0,
    start: int = 0,
    draws: Any = None,
) -> list[list[list[Any]]]:
    """List the micro-batches of each step."""
    plan = BatchPlan(num, batch, epochs, parts, 3, draws)
    found = list(micro_batch_keys(plan, start, rank, world, lambda step: (32, 32 + step)))
    assert len(found) == (plan.num_steps - start) * parts
    return [found[index : index + parts] for index in range(0, len(found), parts)]


def full_batches(steps: list[list[list[Any]]]) -> list[set[Any]]:
    return [{key for part in step for key in part} for step in steps]


def test_finished_run_has_no_batches_left() -> None:
    assert keys(7, 2, 2, 1, start=6) == []


@given(
    num=st.integers(8, 40),
    epochs=st.integers(1, 3),
    world=st.sampled_from([1, 2, 4]),
    parts=st.sampled_from([1, 2]),
    start=st.integers(0, 5),
    is_balanced=st.booleans(),
)
def test_batches_do_not_depend_on_processes_and_accumulation(
    num: int, epochs: int, world: int, parts: int, start: int, is_balanced: bool
) -> None:
    start = min(start, num // 8 * epochs)
    draws = np.linspace(0, 2, num) if is_balanced else None
    alone = full_batches(keys(num, 8, epochs, 1, draws=draws))
    shares = [
        full_batches(keys(num, 8, epochs, parts, world, rank, start, draws))
        for rank in range(world)
    ]
    assert all(len(share) == len(alone) - start for share in shares)
    for step, batch in enumerate(alone[start:], start):
        own = [share[step - start] for share in shares]
        assert set().union(*own) == batch
        assert sum(map(len, own)) == len(batch) == 8
        assert {size for _, _, size in batch} == {(32, 32 + step)}


def test_each_epoch_visits_each_image_once_in_a_new_order() -> None:
    first, second = (
        [index for step in half for part in step for _, index, _ in part]
        for half in (keys(6, 2, 2, 1)[:3], keys(6, 2, 2, 1)[3:])
    )
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


def test_batch_size_that_cannot_be_divided_is_refused(tiny: Callable[..., Experiment]) -> None:
    assert plan_batches(tiny(**{'training.batch_size': 64}), 7, 1).batch_size == 7
    assert plan_batches(tiny(**{'training.batch_size': 64}), 7, 4).batch_size == 4
    odd = tiny(**{'training.batch_size': 6, 'training.grad_accum_steps': 2})
    assert plan_batches(odd, 100, 3).batch_size == 6
    with pytest.raises(ConfigError, match=r'training\.batch_size: expected a multiple of 4 '):
        plan_batches(odd, 100, 2)
    with pytest.raises(ConfigError, match='1 training images are too few for 2 processes'):
        plan_batches(tiny(), 1, 2)
