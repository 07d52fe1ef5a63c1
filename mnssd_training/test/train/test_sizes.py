"""Input sizes by the step."""

from collections.abc import Callable

from mnssd_training.config import Experiment
from mnssd_training.errors import ConfigError
from mnssd_training.train.sizes import input_size, input_sizes
import pytest


def sizes(experiment: Experiment, total: int = 40) -> list[tuple[int, int]]:
    return [input_size(step, total, experiment) for step in range(total)]


def test_nothing_changes_by_default(tiny: Callable[..., Experiment]) -> None:
    assert set(sizes(tiny())) == {(64, 80)}  # and 80 is no multiple of 32
    smaller = tiny(**{'input.train_size': '[48, 48]'})
    assert set(sizes(smaller)) == {(48, 48)}


def test_multi_scale_draws_by_seed_and_step(tiny: Callable[..., Experiment]) -> None:
    wanted = {'input.size': '[320, 640]', 'training.multi_scale': '[0.5, 1.5]'}
    found = sizes(tiny(**wanted))
    assert found == sizes(tiny(**wanted))
    assert found != sizes(tiny(**wanted, **{'training.seed': 2}))
    assert len(set(found)) > 5
    for height, width in found:
        assert height % 32 == width % 32 == 0
        assert 160 <= height <= 480
        assert abs(width - 2 * height) <= 32


def test_progressive_resizing_by_parts_of_the_run(tiny: Callable[..., Experiment]) -> None:
    found = sizes(tiny(**{'training.progressive_resizing': '[[0.25, 2.0], [0.5, 1.0]]'}))
    assert found[:10] == [(64, 80)] * 10
    assert found[10:20] == [(128, 160)] * 10
    assert found[20:] == [(64, 80)] * 20


def test_no_input_is_smaller_than_a_cell(tiny: Callable[..., Experiment]) -> None:
    assert set(sizes(tiny(**{'training.multi_scale': '[0.1, 0.1]'}))) == {(32, 32)}


def test_ranges_that_fall_are_refused(tiny: Callable[..., Experiment]) -> None:
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
    ids=['plain', 'drawn', 'half', 'progressive_resizing'],
)
@pytest.mark.parametrize('total', [1, 40])
def test_the_sizes_of_a_run_are_those_of_its_steps(
    tiny: Callable[..., Experiment], changes: dict[str, str], total: int
) -> None:
    experiment = tiny(**{'input.size': '[320, 640]'}, **changes)
    assert input_sizes(total, experiment) == sorted(set(sizes(experiment, total)))
