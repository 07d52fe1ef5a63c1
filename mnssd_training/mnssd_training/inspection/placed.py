"""Raw boxes to arrays in pixels of their image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnssd_training.inspection.photograph import Photograph
from mnssd_training.inspection.records import Entry, Place
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placed:
    """
    The boxes of one image.

    :ivar entry: what was written.
    :ivar size: (height, width) of the image, pixels; as annotated where it cannot be read.
    :ivar edges: ``(N, 4)`` float64 xyxy, pixels, neither cut nor ordered.
    :ivar labels: ``(N,)`` int64, from 0; -1 for a class that is not known.
    :ivar is_ignore: ``(N,)`` bool.
    """

    entry: Entry
    size: tuple[int, int]
    edges: NDArray[np.float64]
    labels: NDArray[np.int64]
    is_ignore: NDArray[np.bool_]

    @property
    def boxes(self) -> NDArray[np.float64]:
        """The boxes cut at the edges of the image, ``(N, 4)`` xyxy, pixels."""
        return np.clip(self.edges, 0, np.array(self.size[::-1] * 2, np.float64))

    @property
    def sides(self) -> NDArray[np.float64]:
        """(width, height) of the boxes as they are cut, ``(N, 2)``; never negative."""
        boxes = self.boxes
        return np.maximum(boxes[:, 2:] - boxes[:, :2], 0)

    @property
    def is_object(self) -> NDArray[np.bool_]:
        """Whether each is an object of a known class with an area, ``(N,)``."""
        return ~self.is_ignore & (self.labels >= 0) & (self.sides > 0).all(axis=1)


def place(
    entries: Sequence[Entry], photographs: Mapping[Place, Photograph], class_names: Sequence[str]
) -> list[Placed]:
    """
    Measure boxes in pixels.

    :param entries: what was written.
    :param images: by path, those that could be read among them.
    :param class_names: in the order of their labels.
    :return: an item an entry whose size is known.
    """
    placed = []
    for entry in entries:
        photograph = photographs.get(entry.image)
        readable = photograph is not None and not photograph.error
        # Where the two differ, boxes mean the size that was annotated.
        size = entry.size or (photograph.size if photograph and readable else None)
        if size is None:
            continue
        edges = np.array([box.edges for box in entry.boxes], np.float64).reshape(-1, 4)
        if entry.is_fraction:
            edges = edges * np.array(size[::-1] * 2, np.float64)
        labels = [
            class_names.index(box.name) if box.name in class_names else -1 for box in entry.boxes
        ]
        hides = [box.is_ignore for box in entry.boxes]
        placed.append(
            Placed(entry, size, edges, np.array(labels, np.int64), np.array(hides, np.bool_))
        )
    return placed
