"""Learning rates by the step."""

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import SchedulerConfig
from mnssd_training.train.schedule import rate_factor
import pytest

NAMES = ('cosine', 'step', 'multistep', 'onecycle', 'constant')


def factors(total: int, steps_per_epoch: int = 10, **keys: object) -> list[float]:
    config = SchedulerConfig(**keys)  # type: ignore[arg-type]
    return [rate_factor(step, total, steps_per_epoch, config) for step in range(total)]


@pytest.mark.parametrize('name', NAMES)
def test_a_run_of_no_and_of_one_step(name: str) -> None:
    assert factors(0, name=name) == []
    (only,) = factors(1, 1, name=name)
    assert 0 < only <= 1


def test_cosine_by_hand() -> None:
    found = factors(10, name='cosine', warmup_steps=4, final_lr_factor=0.1)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[7] == pytest.approx(0.1 + 0.9 * 0.5)  # half of the way down
    assert found[9] == pytest.approx(0.1 + 0.9 * 0.5 * (1 - 0.8660254))


def test_step_drops_by_epochs() -> None:
    found = factors(60, name='step', warmup_steps=0, step_epochs=2, gamma=0.5)
    assert found[:20] == [1.0] * 20
    assert found[20:40] == [0.5] * 20
    assert found[40:] == [0.25] * 20


def test_multistep_drops_at_parts_of_the_run() -> None:
    found = factors(100, name='multistep', warmup_steps=2, milestones=(0.5, 0.75), gamma=0.1)
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert (found[49], found[50], found[74]) == pytest.approx((1.0, 0.1, 0.1))
    assert found[75] == found[99] == pytest.approx(0.01)


def test_one_cycle_rises_and_falls_without_warm_up() -> None:
    found = factors(100, name='onecycle', warmup_steps=50, pct_start=0.25, final_lr_factor=0.0)
    assert found[0] == pytest.approx(0.04)
    assert found[25] == max(found) == pytest.approx(1.0)
    assert all(a < b for a, b in zip(found[:25], found[1:26], strict=True))
    assert all(a > b for a, b in zip(found[25:-1], found[26:], strict=True))
    assert found[99] < 0.001


def test_constant_stays() -> None:
    assert factors(5, name='constant', warmup_steps=1) == [0.5, 1.0, 1.0, 1.0, 1.0]


@given(st.sampled_from(NAMES), st.integers(1, 300), st.integers(0, 400), st.integers(1, 40))
def test_each_curve_stays_in_range(name: str, total: int, warmup: int, an_epoch: int) -> None:
    found = factors(total, an_epoch, name=name, warmup_steps=warmup)
    assert all(0 < factor <= 1 for factor in found)
    if name != 'onecycle':
        assert max(found) > 0.49  # the warm-up of a short run is short
