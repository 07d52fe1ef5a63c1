"""Which frames of a recording are selected, and which split they go to."""

from collections.abc import Sequence

import cv2
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.bag_import import FrameSelector, split_by_time
import numpy as np
import pytest

S = 10**9


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def select(
    stamps: Sequence[int], scenes: Sequence[int], **options: int
) -> tuple[list[int], FrameSelector]:
    selector = FrameSelector(**options)
    frames = zip(stamps, scenes)
    return [stamp for stamp, seed in frames if selector.select(stamp, scene(seed))], selector


def test_no_frames_select_nothing() -> None:
    stamps, selector = select([], [])
    assert stamps == []
    assert (selector.num_seen, selector.num_duplicates) == (0, 0)
    assert split_by_time([], 0.5, 0) == []


def test_selected_frames_are_apart_in_time() -> None:
    stamps = [0, S // 2, S, 2 * S - 1, 2 * S, 9 * S]
    assert select(stamps, range(6), min_interval_ns=S)[0] == [0, S, 2 * S, 9 * S]


def test_a_clock_that_is_set_back_starts_again() -> None:
    assert select([9 * S, 2 * S, 2 * S + 1], range(3), min_interval_ns=S)[0] == [
        9 * S,
        2 * S,
    ]


def test_every_nth_frame_is_selected() -> None:
    assert select(range(7), range(7), every=3)[0] == [0, 3, 6]


@pytest.mark.parametrize(('bits', 'expected'), [(12, [0, 2]), (0, [0, 1, 2, 3])])
def test_frames_like_selected_ones_are_left_out(bits: int, expected: list[int]) -> None:
    stamps, selector = select(range(4), [1, 1, 2, 1], min_difference=bits)
    assert stamps == expected
    assert (selector.num_seen, selector.num_duplicates) == (4, 4 - len(expected))


@given(
    stamps=st.lists(st.integers(0, 100 * S), max_size=30),
    share=st.floats(0, 1),
    gap=st.integers(0, 50 * S),
)
def test_validation_is_the_end_and_training_ends_before_the_gap(
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
