"""Which frames of a recording are taken, and which split they go to."""

from collections.abc import Sequence

import cv2
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.harvest import Choice, choose_frames, Counts, split_by_time
import numpy as np
import pytest

S = 10**9


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def taken(
    stamps: Sequence[int], scenes: Sequence[int], choice: Choice
) -> tuple[list[int], Counts]:
    counts = Counts()
    images = [(stamp, scene(number)) for stamp, number in zip(stamps, scenes)]
    frames = list(choose_frames(images, choice, counts))
    return [frame.stamp_ns for frame in frames], counts


def test_no_frames() -> None:
    stamps, counts = taken([], [], Choice())
    assert stamps == []
    assert (counts.seen, counts.alike, counts.taken) == (0, 0, 0)
    assert split_by_time([], 0.5, 0) == []


def test_frames_are_apart_in_time() -> None:
    stamps = [0, S // 2, S, 2 * S - 1, 2 * S, 9 * S]
    assert taken(stamps, range(6), Choice(every_ns=S))[0] == [0, S, 2 * S, 9 * S]


def test_a_clock_that_is_set_back_begins_anew() -> None:
    assert taken([9 * S, 2 * S, 2 * S + 1], range(3), Choice(every_ns=S))[0] == [9 * S, 2 * S]


def test_one_of_so_many_frames() -> None:
    assert taken(range(7), range(7), Choice(every=3))[0] == [0, 3, 6]


@pytest.mark.parametrize(('bits', 'expected'), [(12, [0, 2]), (0, [0, 1, 2, 3])])
def test_what_was_seen_before_is_left_out(bits: int, expected: list[int]) -> None:
    stamps, counts = taken(range(4), [1, 1, 2, 1], Choice(min_difference=bits))
    assert stamps == expected
    assert (counts.seen, counts.alike, counts.taken) == (4, 4 - len(expected), len(expected))


@given(
    stamps=st.lists(st.integers(0, 100 * S), max_size=30),
    share=st.floats(0, 1),
    gap=st.integers(0, 50 * S),
)
def test_validation_is_the_end_and_training_is_before_the_gap(
    stamps: list[int], share: float, gap: int
) -> None:
    splits = split_by_time(stamps, share, gap)
    train, val, _ = (
        [stamp for stamp, split in zip(stamps, splits) if split == name]
        for name in ('train', 'val', '')
    )
    assert len(splits) == len(stamps)
    assert len(val) == round(len(stamps) * share)
    if not val:
        assert len(train) == len(stamps)
    assert all(min(val) - stamp >= gap for stamp in train if val)
    assert all(stamp <= min(val) for stamp, split in zip(stamps, splits) if val and split != 'val')
