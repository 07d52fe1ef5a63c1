"""What a network returns for one image, and the detections that are made of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawHeads:
    """
    The raw output of a network for one image, the same from every engine.

    :ivar logits: ``(P, C + 1)`` float32, column 0 the background.
    :ivar offsets: ``(P, 4)`` float32, relative to the priors.
    """

    logits: NDArray[np.float32]
    offsets: NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """
    The detections in one image, best first.

    :ivar boxes: ``(N, 4)`` float32, xyxy, pixels of the source image.
    :ivar scores: ``(N,)`` float32 in [0, 1], falling.
    :ivar labels: ``(N,)`` int64, from 0 in the order of the class names.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        num = len(self.scores)
        if self.boxes.shape != (num, 4) or self.labels.shape != (num,):
            raise ValueError(
                f'expected boxes ({num}, 4) and labels ({num},) beside {num} scores, '
                f'got {self.boxes.shape} and {self.labels.shape}'
            )

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> 'Detections':
        """Make no detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
