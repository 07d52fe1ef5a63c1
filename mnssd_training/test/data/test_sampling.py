"""Balanced sampling: the shares of classes and groups, and how exactly epochs keep them."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import SamplingConfig
from mnssd_training.data import Sample
from mnssd_training.data.dataset import EpochSampler
from mnssd_training.data.sampling import describe_sampling, expected_draws, group_ids
from mnssd_training.errors import ConfigError
import numpy as np
from pydantic import ValidationError
import pytest

TIME = '^(?P<time>[01])_'


def shown(draws: Any, epoch: int, seed: int = 3) -> list[int]:
    """List the keys of one epoch, in batches of one."""
    sampler = EpochSampler(len(draws), 1, epoch, seed, size_of=lambda _: (8, 8), draws=draws)
    return [index for [(_, index, _)] in sampler]


@pytest.fixture
def flights(make_sample: Callable[..., Sample]) -> list[Sample]:
    """Six images by night, two by day; a person in each, and a bicycle in the last."""
    names = [*(f'1_{60 + 10 * i}_{i}' for i in range(6)), '0_60_6', '0_60_7']
    labels: list[Sequence[int]] = [[0]] * 7 + [[0, 2]]
    return [
        make_sample([(0, 0, 9, 9)] * len(row), row, name=name) for name, row in zip(names, labels)
    ]


# --- expected draws -----------------------------------------------------------------------------


def test_sampling_is_off_by_default(flights: list[Sample]) -> None:
    assert expected_draws(flights, SamplingConfig()) is None
    assert list(describe_sampling(flights, ('Person',), SamplingConfig())) == []


@pytest.mark.parametrize(
    ('balance', 'day'), [(0.0, 0.25), (0.5, 2**0.5 / (2**0.5 + 6**0.5)), (1.0, 0.5)]
)
def test_balance_interpolates_between_images_and_groups(
    flights: list[Sample], balance: float, day: float
) -> None:
    draws = expected_draws(flights, SamplingConfig(groups=TIME, balance=balance))
    assert draws is not None
    assert draws.sum() == pytest.approx(8)
    np.testing.assert_allclose(draws[6:], day * 8 / 2)
    np.testing.assert_allclose(draws[:6], (1 - day) * 8 / 6)


def test_repeat_factor_is_that_of_the_rarest_class(flights: list[Sample]) -> None:
    draws = expected_draws(flights, SamplingConfig(repeat_threshold=0.5))
    assert draws is not None
    np.testing.assert_allclose(draws[7] / draws[:7], 2.0)  # sqrt(0.5 / 0.125)
    assert draws.sum() == pytest.approx(8)


def test_image_without_objects_has_factor_one(make_sample: Callable[..., Sample]) -> None:
    samples = [make_sample(), *(make_sample([(0, 0, 9, 9)], [0]) for _ in range(3))]
    draws = expected_draws(samples, SamplingConfig(repeat_threshold=0.9))
    assert draws is not None
    np.testing.assert_allclose(draws[1] / draws[0], (0.9 / 0.75) ** 0.5)


def test_groups_stay_balanced_with_rare_classes(flights: list[Sample]) -> None:
    draws = expected_draws(flights, SamplingConfig(groups=TIME, repeat_threshold=0.5))
    assert draws is not None
    np.testing.assert_allclose([draws[:6].sum(), draws[6:].sum()], 4.0)
    np.testing.assert_allclose(draws[7] / draws[6], 2.0)


def test_empty_named_groups_make_bands(flights: list[Sample]) -> None:
    bands = r'_(?:(?P<low>)[67]0|(?P<high>)\d+)_'
    ids = group_ids(flights, bands)
    assert (ids == ids[0]).tolist() == [True, True, *[False] * 4, True, True]
    assert sorted(set(ids.tolist())) == [0, 1]
    assert not group_ids(flights, '').any()


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [
        ('(', 'expected a regular expression'),
        ('^[01]_', r'expected a named group like \(\?P<time>'),
    ],
)
def test_invalid_patterns_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SamplingConfig(groups=pattern)


def test_unmatched_images_are_named(flights: list[Sample]) -> None:
    with pytest.raises(
        ConfigError, match=r"not found in 6 names, such as '1_60_0'; append \"\|\""
    ):
        expected_draws(flights, SamplingConfig(groups='^(?P<day>0)_'))
    draws = expected_draws(flights, SamplingConfig(groups='^(?P<day>0)_|'))
    assert draws is not None
    assert draws[6:].sum() == pytest.approx(4)


def test_group_without_images_is_refused(flights: list[Sample]) -> None:
    with pytest.raises(ConfigError, match="expected images in each group, got none in 'dusk'"):
        expected_draws(flights, SamplingConfig(groups='^(?:(?P<dusk>2)|(?P<time>[01]))_'))


# --- epochs --------------------------------------------------------------------------------------


def test_uniform_draws_give_the_order_without_sampling() -> None:
    for epoch in range(3):
        plain = EpochSampler(30, 5, epoch, 7, size_of=lambda _: (8, 8))
        uniform = EpochSampler(30, 5, epoch, 7, size_of=lambda _: (8, 8), draws=np.ones(30))
        assert list(plain) == list(uniform)


@given(
    weights=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60),
    epoch=st.integers(0, 50),
    seed=st.integers(0, 5),
)
def test_each_epoch_rounds_the_expected_draws(weights: list[float], epoch: int, seed: int) -> None:
    num = len(weights)
    draws = np.array(weights) * (num / sum(weights))
    keys = shown(draws, epoch, seed)
    assert len(keys) == num
    counts = np.bincount(np.array(keys) % num, minlength=num)
    assert (np.abs(counts - draws) < 1 + 1e-6).all()
    for index, count in enumerate(counts.tolist()):  # repetitions are numbered from 0
        assert sorted(key // num for key in keys if key % num == index) == list(range(count))


def test_groups_have_their_share_in_each_epoch(flights: list[Sample]) -> None:
    samples = flights * 25
    draws = expected_draws(samples, SamplingConfig(groups=TIME, balance=0.7))
    assert draws is not None
    is_day = group_ids(samples, TIME) == group_ids(samples, TIME)[6]
    for epoch in range(10):
        num_day = is_day[np.array(shown(draws, epoch)) % 200].sum()
        assert abs(num_day - draws[is_day].sum()) < 1


def test_epochs_take_turns_with_the_samples_that_they_leave_out() -> None:
    draws = np.repeat([0.25, 1.75], 40)
    counts = np.zeros(80)
    for epoch in range(40):
        counts += np.bincount(np.array(shown(draws, epoch)) % 80, minlength=80)
    assert np.abs(counts - 40 * draws).max() < 3


def test_order_depends_on_seed_and_epoch() -> None:
    draws = np.repeat([0.5, 1.5], 20)
    assert shown(draws, 2) == shown(draws, 2)
    assert len({tuple(shown(draws, *key)) for key in [(0, 0), (1, 0), (0, 1)]}) == 3


# --- description ---------------------------------------------------------------------------------


def test_description_tells_the_shares(flights: list[Sample]) -> None:
    lines = list(
        describe_sampling(flights, ('Person', 'Car', 'Bicycle'), SamplingConfig(groups=TIME))
    )
    assert lines == [
        'an epoch shows an image 0.67 to 2.00 times',
        'time: 0 25.0 -> 50.0 %, 1 75.0 -> 50.0 %',
        'images with Person 100.0 -> 100.0 %, Car 0.0 -> 0.0 %, Bicycle 12.5 -> 25.0 %',
    ]
