"""Images of a recording to the frames that are worth labelling."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mnssd_training.inspection.image_facts import perceptual_hash
import numpy as np
from numpy.typing import NDArray

NS = 10**9


@dataclass(frozen=True)
class Choice:
    """
    Which frames are taken.

    :ivar every_ns: least time between two that are taken, nanoseconds; 0 for no such limit.
    :ivar every: of so many frames one is taken.
    :ivar min_difference: bits of 256 by which the perceptual hash of a frame must differ from
        those of all that were taken before; 0 takes repetitions, too.
    """

    every_ns: int = 0
    every: int = 1
    min_difference: int = 12


@dataclass(frozen=True)
class Frame:
    """
    One frame that was taken.

    :ivar stamp_ns: when the camera saw it.
    :ivar image: ``(H, W, 3)`` uint8 RGB.
    """

    stamp_ns: int
    image: NDArray[np.uint8]


class Counts:
    """What became of the frames of a recording, while they go by."""

    def __init__(self) -> None:
        self.seen = 0
        self.alike = 0
        self.taken = 0


def choose_frames(
    images: Iterable[tuple[int, NDArray[np.uint8]]], choice: Choice, counts: Counts
) -> Iterator[Frame]:
    """
    Take frames of a recording that are apart in time and differ.

    :param images: stamp [ns] and image of each frame, in the order in which they were recorded.
    :param choice: which are taken.
    :param counts: is kept up to date.
    :return: the frames, as they come.
    """
    last: int | None = None
    hashes: list[NDArray[np.bool_]] = []
    for number, (stamp_ns, image) in enumerate(images):
        counts.seen += 1
        if number % choice.every:
            continue
        # A clock that was set back begins anew.
        if last is not None and 0 <= stamp_ns - last < choice.every_ns:
            continue
        own = perceptual_hash(image)
        if hashes and (np.array(hashes) != own).sum(axis=1).min() < choice.min_difference:
            counts.alike += 1
            continue
        hashes.append(own)
        last = stamp_ns
        counts.taken += 1
        yield Frame(stamp_ns, image)


def split_by_time(stamps_ns: Sequence[int], val_share: float, gap_ns: int) -> list[str]:
    """
    Put the end of a recording into the validation split.

    Frames next to each other show nearly the same, so that a split by chance would score what was
    learnt by heart.

    :param stamps_ns: of the frames of one recording.
    :param val_share: part of the frames that is for validation, in [0, 1].
    :param gap_ns: frames for training that are nearer to the first one for validation are in
        neither split, nanoseconds.
    :return: ``train``, ``val`` or nothing, for each frame.
    """
    order = np.argsort(stamps_ns, kind='stable')
    num_val = round(len(order) * val_share)
    splits = ['train'] * len(order)
    for place in order[len(order) - num_val :]:
        splits[place] = 'val'
    if num_val:
        begin = stamps_ns[order[len(order) - num_val]]
        for place in order[: len(order) - num_val]:
            if begin - stamps_ns[place] < gap_ns:
                splits[place] = ''
    return splits
