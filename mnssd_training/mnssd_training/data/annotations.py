"""
Turn the records of any annotation format into samples.

A parser of one format reads a split into records, which say what is written, and problems. Here
records become samples: boxes are clipped, classes numbered, and problems refused or skipped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import struct
from typing import NamedTuple

from mnssd_training.config.sections import SourceConfig
from mnssd_training.data.problems import (
    describe_skipped,
    MAX_EXAMPLES,
    Problem,
    refuse_problems,
    SKIPPED_KINDS,
    try_read,
    unknown_class,
)
from mnssd_training.data.remote import ShardEntry
from mnssd_training.data.sample import ANY_CLASS, read_header_size, Sample
from mnssd_training.data.text_files import read_text
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

IGNORE_NAMES = frozenset({'dontcare', 'ignore', 'ignored', 'ignored regions', 'misc'})
FLOAT32 = struct.Struct('4f')

Edges = tuple[float, float, float, float]


class BoxRecord(NamedTuple):  # a frozen dataclass takes three times as long to make
    """
    One box as it is written.

    :ivar location: the line, object or annotation.
    :ivar class_name: empty for an ignore region of every class, and for a class that the parser
        has reported as unknown.
    :ivar edges: xyxy, finite, neither clipped nor ordered; pixels, or fractions of the image.
    """

    location: str
    class_name: str
    edges: Edges
    is_ignored: bool = False


@dataclass(frozen=True)
class ImageRecord:
    """
    One image of a split with its annotation as it is written.

    :ivar name: unique in the split.
    :ivar path: may be missing.
    :ivar annotation: the file that holds the boxes.
    :ivar size: (height, width) as annotated, pixels; None where the format does not say.
    :ivar is_normalized: boxes are fractions of the image.
    """

    name: str
    path: Path | ShardEntry
    annotation: Path | str
    size: tuple[int, int] | None
    boxes: tuple[BoxRecord, ...]
    is_normalized: bool = False


@dataclass(frozen=True)
class ParsedSplit:
    """
    What the files of one split say.

    :ivar file: the list, annotation file or folder that names the images.
    :ivar class_names: as the dataset lists them; empty if it has no list.
    """

    file: Path | str
    records: Sequence[ImageRecord] = ()
    problems: Sequence[Problem] = ()
    class_names: tuple[str, ...] = ()
    class_ids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSplit:
    """
    One split of one dataset, in its own class names.

    :ivar class_names: the labels of the samples are indices into these.
    :ivar declared: whether the dataset lists its classes; else they were found in annotations.
    :ivar ids: class names by the numbers that the dataset gives them, if it does.
    :ivar notes: what was skipped.
    """

    class_names: tuple[str, ...]
    samples: list[Sample]
    declared: bool = True
    ids: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class AnnotationBuilder:
    """Collect the boxes of one image of (width, height) pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._sides = (width, height)
        self._objects: tuple[list[Edges], list[int]] = ([], [])
        self._ignore: tuple[list[Edges], list[int]] = ([], [])

    def clip(self, box: Sequence[float]) -> Edges | None:
        """Clip a box (xyxy, pixels) to the image, as float32; None if no area is left."""
        width, height = self._sides
        x1, y1, x2, y2 = box
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:  # few boxes: clamping all is slower
            x1, x2 = min(max(x1, 0.0), width), min(max(x2, 0.0), width)
            y1, y2 = min(max(y1, 0.0), height), min(max(y2, 0.0), height)
        x1, y1, x2, y2 = FLOAT32.unpack(FLOAT32.pack(x1, y1, x2, y2))
        return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None

    def add(self, box: Edges, label: int, ignore: bool = False) -> None:
        """
        Add an object or an ignore region.

        :param box: as :meth:`clip` returns it.
        :param label: :data:`ANY_CLASS` makes an ignore region of every class.
        """
        boxes, labels = self._ignore if ignore or label == ANY_CLASS else self._objects
        boxes.append(box)
        labels.append(label)

    def arrays(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Return the last four fields of a sample: boxes, labels, ignore and ignore_labels."""
        (boxes, labels), (ignore, ignore_labels) = (
            (np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))
            for boxes, labels in (self._objects, self._ignore)
        )
        return boxes, labels, ignore, ignore_labels


def read_class_list(path: Path, problems: list[Problem]) -> tuple[str, ...]:
    """Read ``classes.txt``: names in the order of their labels, one a line."""
    kind, expected = 'class list wrong', 'expected class names that differ, one a line, got'
    text = try_read(kind, problems, read_text, path)
    names = [line.strip() for line in (text or '').rstrip().splitlines()]
    if text is not None and not names:
        problems.append(Problem(kind, path, '', f'{expected} none'))
    earlier: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or name in earlier:
            message = f'{expected} {name!r}{" again" if name else ""}'
            problems.append(Problem(kind, path, f'line {number}', message))
        earlier.add(name)
    return tuple(names)


def find_box_problem(
    record: ImageRecord, box: BoxRecord, edges: Sequence[float], size: tuple[int, int]
) -> Problem | None:
    """
    Return the problem of a box without area in the image.

    :param edges: of the box, xyxy, pixels.
    :param size: (height, width) of the image, pixels.
    """
    height, width = size
    if AnnotationBuilder(width, height).clip(edges) is not None:
        return None
    x1, y1, x2, y2 = edges
    if x2 < x1 or y2 < y1:
        kind, expected = 'box inverted', 'x1 <= x2 and y1 <= y2'
    elif x1 > width or y1 > height or x2 < 0 or y2 < 0:
        kind, expected = 'box off image', f'a box inside {width} x {height} pixels'
    else:
        kind, expected = 'box degenerate', 'a box with an area in the image'
    shown = ', '.join(f'{edge:.9g}' for edge in edges)
    message = f'expected {expected}, got {box.class_name or "a box"} ({shown})'
    return Problem(kind, record.annotation, box.location, message)


def build_split(parsed: ParsedSplit, source: SourceConfig, training: bool) -> DatasetSplit:
    """
    Turn the records of a split into samples.

    :param training: leave out images of a YOLO dataset with labels of which none is valid, which
        tell nothing, and require at least one valid label.
    :raises DatasetError: for problems that training refuses.
    """
    skipped_kinds = frozenset() if source.strict_labels else SKIPPED_KINDS[source.format]
    refuse_problems(parsed.problems, skipped_kinds)
    class_names = _complete_class_names(parsed, source.class_map)
    problems = list(parsed.problems)
    samples = _build_samples(parsed.records, class_names, problems)
    refuse_problems(problems, skipped_kinds)
    notes = describe_skipped(problems, Path(source.root).expanduser())
    if training and source.format == 'yolo':
        samples = _drop_invalid(parsed, samples, problems, notes)
    return DatasetSplit(
        class_names, samples, bool(parsed.class_names), parsed.class_ids, tuple(notes)
    )


def _complete_class_names(parsed: ParsedSplit, rename: Mapping[str, str]) -> tuple[str, ...]:
    """Add names to the class list that only annotations hold: all, or those to be renamed."""
    renamed = {name for name in rename if name != '*'}
    used = {box.class_name for record in parsed.records for box in record.boxes} - {''}
    used = {name for name in used if name in renamed or name.lower() not in IGNORE_NAMES}
    if parsed.class_names and '*' not in rename:
        used &= renamed
    return parsed.class_names + tuple(sorted(used - set(parsed.class_names)))


def _build_samples(
    records: Sequence[ImageRecord], class_names: Sequence[str], problems: list[Problem]
) -> list[Sample]:
    labels = {name: label for label, name in enumerate(class_names)}
    samples = []
    for record in records:
        size = record.size or read_header_size(record.path)
        height, width = size
        builder = AnnotationBuilder(width, height)
        for box in record.boxes:
            edges = box.edges
            if record.is_normalized:
                x1, y1, x2, y2 = edges
                edges = (x1 * width, y1 * height, x2 * width, y2 * height)
            name = box.class_name
            if not (name or box.is_ignored):  # reported by the parser
                continue
            label = labels.get(name)
            if label is None and (not name or name.lower() in IGNORE_NAMES):
                label = ANY_CLASS
            clipped = builder.clip(edges)
            if clipped is None:
                problem = find_box_problem(record, box, edges, size)
                assert problem is not None
                problems.append(problem)
            elif label is None:
                problems.append(unknown_class(record.annotation, box.location, name, class_names))
            else:
                builder.add(clipped, label, box.is_ignored)
        samples.append(Sample(record.name, record.path, size, *builder.arrays()))
    return samples


def _drop_invalid(
    parsed: ParsedSplit, samples: Sequence[Sample], problems: Sequence[Problem], notes: list[str]
) -> list[Sample]:
    """Drop images with labels of which none is valid, and note them and missing label files."""
    files_with_errors = {problem.file for problem in problems if problem.severity == 'error'}
    kept: list[Sample] = []
    invalid: list[Sample] = []
    for record, sample in zip(parsed.records, samples):
        is_invalid = record.annotation in files_with_errors and not len(sample.boxes)
        (invalid if is_invalid else kept).append(sample)
    if invalid:
        notes.append(
            f'left out {len(invalid)} images without a valid label from training: '
            + ', '.join(sample.name for sample in invalid[:MAX_EXAMPLES])
        )
    missing = [problem for problem in problems if problem.kind == 'label file missing']
    if missing:
        notes.append(
            f'{len(missing)} of {len(samples)} images have no label file, such as '
            f'{missing[0].file}: {missing[0].message}'
        )
    if not any(len(sample.boxes) for sample in kept):
        raise DatasetError(
            parsed.file,
            f'expected a valid label in at least one of {len(samples)} images, got none'
            + ''.join(f'; {note}' for note in notes),
        )
    return kept
