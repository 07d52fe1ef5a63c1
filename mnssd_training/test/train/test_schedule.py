"""Learning rate and input size of each step."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import Experiment, SchedulerConfig
from mnssd_training.errors import ConfigError
from mnssd_training.train.schedule import input_size, input_sizes, lr_factor
import pytest

NAMES = ('cosine', 'step', 'multistep', 'onecycle', 'constant')


def factors(total: int, steps_per_epoch: int = 10, **keys: object) -> list[float]:
    config = SchedulerConfig(**keys)  # type: ignore[arg-type]
    return [lr_factor(step, total, steps_per_epoch, config) for step in range(total)]


@pytest.mark.parametrize('name', NAMES)
def test_lr_factor_of_runs_of_zero_and_one_step(name: str) -> None:
    assert factors(0, name=name) == []
    (only,) = factors(1, 1, name=name)
    assert 0 < only <= 1


def test_cosine_values() -> None:
    found = factors(10, name='cosine', warmup_steps=4, final_lr_factor=0.1)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[7] == pytest.approx(0.1 + 0.9 * 0.5)  # half of the way down
    assert found[9] == pytest.approx(0.1 + 0.9 * 0.5 * (1 - 0.8660254))


def test_step_decays_by_epochs() -> None:
    found = factors(60, name='step', warmup_steps=0, step_epochs=2, gamma=0.5)
    assert found[:20] == [1.0] * 20
    assert found[20:40] == [0.5] * 20
    assert found[40:] == [0.25] * 20


def test_multistep_decays_at_milestones() -> None:
    found = factors(100, name='multistep', warmup_steps=2, milestones=(0.5, 0.75), gamma=0.1)
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert (found[49], found[50], found[74]) == pytest.approx((1.0, 0.1, 0.1))
    assert found[75] == found[99] == pytest.approx(0.01)


def test_one_cycle_rises_and_falls_without_warmup() -> None:
    found = factors(100, name='onecycle', warmup_steps=50, pct_start=0.25, final_lr_factor=0.0)
    assert found[0] == pytest.approx(0.04)
    assert found[25] == max(found) == pytest.approx(1.0)
    assert all(a < b for a, b in zip(found[:25], found[1:26], strict=True))
    assert all(a > b for a, b in zip(found[25:-1], found[26:], strict=True))
    assert found[99] < 0.001


def test_constant_after_warmup() -> None:
    assert factors(5, name='constant', warmup_steps=1) == [0.5, 1.0, 1.0, 1.0, 1.0]


@given(st.sampled_from(NAMES), st.integers(1, 300), st.integers(0, 400), st.integers(1, 40))
def test_lr_factor_stays_in_range(name: str, total: int, warmup: int, an_epoch: int) -> None:
    found = factors(total, an_epoch, name=name, warmup_steps=warmup)
    assert all(0 < factor <= 1 for factor in found)
    if name != 'onecycle':
        assert max(found) > 0.49  # the warm-up of a short run is short


# --- input sizes ------------------------------------------------------------------------------


def sizes(experiment: Experiment, total: int = 40) -> list[tuple[int, int]]:
    return [input_size(step, total, experiment) for step in range(total)]


def test_input_size_is_constant_by_default(tiny: Callable[..., Experiment]) -> None:
    assert set(sizes(tiny())) == {(64, 80)}  # and 80 is no multiple of 32
    smaller = tiny(**{'input.train_size': '[48, 48]'})
    assert set(sizes(smaller)) == {(48, 48)}


def test_multi_scale_is_drawn_by_seed_and_step(tiny: Callable[..., Experiment]) -> None:
    wanted = {'input.size': '[320, 640]', 'training.multi_scale': '[0.5, 1.5]'}
    found = sizes(tiny(**wanted))
    assert found == sizes(tiny(**wanted))
    assert found != sizes(tiny(**wanted, **{'training.seed': 2}))
    assert len(set(found)) > 5
    for height, width in found:
        assert height % 32 == width % 32 == 0
        assert 160 <= height <= 480
        assert abs(width - 2 * height) <= 32


def test_progressive_resizing_follows_the_run(tiny: Callable[..., Experiment]) -> None:
    found = sizes(tiny(**{'training.progressive_resizing': '[[0.25, 2.0], [0.5, 1.0]]'}))
    assert found[:10] == [(64, 80)] * 10
    assert found[10:20] == [(128, 160)] * 10
    assert found[20:] == [(64, 80)] * 20


def test_input_is_at_least_one_cell(tiny: Callable[..., Experiment]) -> None:
    assert set(sizes(tiny(**{'training.multi_scale': '[0.1, 0.1]'}))) == {(32, 32)}


def test_descending_ranges_are_refused(tiny: Callable[..., Experiment]) -> None:
    with pytest.raises(ConfigError, match='multi_scale'):
        tiny(**{'training.multi_scale': '[2.0, 1.0]'})
    with pytest.raises(ConfigError, match='progressive_resizing'):
        tiny(**{'training.progressive_resizing': '[[0.5, 1.0], [0.2, 1.0]]'})


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'training.multi_scale': '[0.5, 1.5]'},
        {'training.multi_scale': '[0.5, 0.5]'},
        {'training.progressive_resizing': '[[0.0, 0.5], [0.33, 0.75], [0.99, 1.0]]'},
    ],
    ids=['plain', 'drawn', 'half', 'progressive'],
)
@pytest.mark.parametrize('total', [1, 40])
def test_input_sizes_lists_the_sizes_of_all_steps(
    tiny: Callable[..., Experiment], changes: dict[str, str], total: int
) -> None:
    experiment = tiny(**{'input.size': '[320, 640]'}, **changes)
    assert input_sizes(total, experiment) == sorted(set(sizes(experiment, total)))
