"""Measure the boxes of images in pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnssd_training.data.annotations import ImageRecord
from mnssd_training.data.problems import Problem
from mnssd_training.inspection.image_facts import ImageFacts
import numpy as np
from numpy.typing import NDArray

TRAIN, VAL = 'train', 'val'  # lists used for training and validation, whatever their names


@dataclass(frozen=True)
class CheckedImage:
    """One image of a split with what its annotation and its file say."""

    split: str
    record: ImageRecord  # with the class names of the model
    facts: ImageFacts | None  # None if there is no such file


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes of one image."""

    image: CheckedImage
    size: tuple[int, int]  # (height, width), pixels; as annotated where the file differs
    edges: NDArray[np.float64]  # (N, 4) xyxy, pixels, neither clipped nor ordered
    labels: NDArray[np.int64]  # (N,), from 0; -1 for an unknown class
    is_ignored: NDArray[np.bool_]  # (N,)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """The boxes clipped to the image, ``(N, 4)`` xyxy, pixels."""
        return np.clip(self.edges, 0, np.array(self.size[::-1] * 2, np.float64))

    @property
    def sides(self) -> NDArray[np.float64]:
        """(width, height) of the clipped boxes, ``(N, 2)``; never negative."""
        boxes = self.boxes
        return np.maximum(boxes[:, 2:] - boxes[:, :2], 0)

    @property
    def is_object(self) -> NDArray[np.bool_]:
        """Whether each is an object of a known class with an area, ``(N,)``."""
        return ~self.is_ignored & (self.labels >= 0) & (self.sides > 0).all(axis=1)

    def problem(self, kind: str, row: int, message: str) -> Problem:
        """Make a problem of one box."""
        record = self.image.record
        return Problem(kind, record.annotation, record.boxes[row].location, message)


def measure_boxes(images: Iterable[CheckedImage], class_names: Sequence[str]) -> list[ImageBoxes]:
    """Measure the boxes of all images that have a size."""
    labels_by_name = {name: label for label, name in enumerate(class_names)}
    measured = []
    for image in images:
        record, facts = image.record, image.facts
        # Where the two differ, boxes refer to the size that was annotated.
        size = record.size or (facts.size if facts and not facts.error else None)
        if size is None:
            continue
        edges = np.array([box.edges for box in record.boxes], np.float64).reshape(-1, 4)
        if record.is_normalized:
            edges = edges * np.array(size[::-1] * 2, np.float64)
        labels = [labels_by_name.get(box.class_name, -1) for box in record.boxes]
        is_ignored = np.array([box.is_ignored for box in record.boxes], np.bool_)
        measured.append(ImageBoxes(image, size, edges, np.array(labels, np.int64), is_ignored))
    return measured
