"""Warm-up, then half a cosine."""

from mnssd_training.train.schedule import learning_rate_factor
import pytest


def test_literal_values() -> None:
    factors = [learning_rate_factor(step, 10, 4, 0.1) for step in range(10)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[7] == pytest.approx(0.1 + 0.9 * 0.5)  # half of the way down
    assert factors[9] == pytest.approx(0.1 + 0.9 * 0.5 * (1 - 0.8660254))


def test_it_rises_and_then_falls_to_the_end() -> None:
    factors = [learning_rate_factor(step, 1000, 100, 0.01) for step in range(1001)]
    assert max(factors) == factors[100] == 1.0
    assert all(a < b for a, b in zip(factors[:100], factors[1:101], strict=True))
    assert all(a > b for a, b in zip(factors[100:-1], factors[101:], strict=True))
    assert factors[1000] == pytest.approx(0.01)


@pytest.mark.parametrize(('total', 'warmup'), [(1, 0), (1, 200), (2, 200), (5, 5), (3, 0), (0, 0)])
def test_a_run_shorter_than_its_warm_up(total: int, warmup: int) -> None:
    factors = [learning_rate_factor(step, total, warmup, 0.01) for step in range(max(total, 1))]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1.0)


def test_beyond_the_end_it_stays() -> None:
    assert learning_rate_factor(50, 10, 2, 0.3) == pytest.approx(0.3)
