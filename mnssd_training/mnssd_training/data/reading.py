"""What a reader of one dataset format gives, and what all readers share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import os
from pathlib import Path
import re
import stat
import struct
from xml.etree import ElementTree

from mnssd_perception.errors import ImageFileError
from mnssd_perception.image_file import read_image_size
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

IGNORE_NAMES = frozenset({'dontcare', 'ignore', 'ignored', 'ignored regions', 'misc'})
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
FLOAT32 = struct.Struct('4f')
MAX_LIST = 64 << 20  # bytes of a list of images or classes
MAX_ANNOTATION = 8 << 20  # bytes of the annotation of one image: tens of thousands of objects
MAX_TAGS = 400_000  # of an XML annotation: 20 an object; a tag takes hundreds of bytes of memory
DOCUMENT_TYPE = re.compile(r'<!\s*(DOCTYPE|ENTITY)', re.IGNORECASE)


@dataclass(frozen=True)
class DatasetSplit:
    """
    One split of one dataset, in its own class names.

    :ivar class_names: the labels of the samples count in these.
    :ivar samples: the images.
    :ivar declared: whether the dataset lists its classes; else they were found in annotations.
    :ivar ids: class names by the numbers that the dataset gives them, if it does.
    :ivar notes: what was skipped, for the user to read.
    """

    class_names: tuple[str, ...]
    samples: list[Sample]
    declared: bool = True
    ids: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class AnnotationBuilder:
    """
    The boxes of one image as they are gathered.

    :param width: of the image, pixels.
    :param height: of the image, pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._sides = (width, height)
        self._boxes: list[tuple[float, ...]] = []
        self._labels: list[int] = []
        self._ignore: list[tuple[float, ...]] = []
        self._ignore_labels: list[int] = []

    def __len__(self) -> int:
        """Count objects, without ignore regions."""
        return len(self._boxes)

    def clip(self, box: Sequence[float]) -> tuple[float, ...] | None:
        """
        Cut a box at the edges of the image, as float32, which is what is kept.

        :param box: xyxy, pixels.
        :return: xyxy, or None if nothing is left.
        """
        width, height = self._sides
        edges = (
            min(max(box[0], 0.0), width),
            min(max(box[1], 0.0), height),
            min(max(box[2], 0.0), width),
            min(max(box[3], 0.0), height),
        )
        x1, y1, x2, y2 = FLOAT32.unpack(FLOAT32.pack(*edges))
        return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None

    def touches(self, box: Sequence[float]) -> bool:
        """
        Tell whether a box has a point in common with the image.

        :param box: xyxy, pixels.
        :return: whether it is not wholly outside.
        """
        width, height = self._sides
        return box[0] <= width and box[1] <= height and box[2] >= 0 and box[3] >= 0

    def add(self, box: tuple[float, ...], label: int, ignore: bool = False) -> None:
        """
        Add an object or an ignore region.

        :param box: xyxy, pixels, as :meth:`clip` gives it.
        :param label: of its class; :data:`ANY_CLASS` makes an ignore region of any class.
        :param ignore: make an ignore region of its class.
        """
        if ignore or label == ANY_CLASS:
            self._ignore.append(box)
            self._ignore_labels.append(label)
        else:
            self._boxes.append(box)
            self._labels.append(label)

    def arrays(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """
        Give the last four fields of a sample.

        :return: boxes, labels, ignore and ignore_labels.
        """
        return (
            np.array(self._boxes, np.float32).reshape(-1, 4),
            np.array(self._labels, np.int64),
            np.array(self._ignore, np.float32).reshape(-1, 4),
            np.array(self._ignore_labels, np.int64),
        )


class SkipLog:
    """
    Counts what is skipped, or refuses it.

    :param strict: raise instead of counting.
    :param shown: examples that are named.
    """

    def __init__(self, strict: bool = False, shown: int = 3) -> None:
        self._strict = strict
        self._shown = shown
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def skip(self, what: str, where: object, reason: str) -> None:
        """
        Count something that is skipped.

        :param what: kind of thing, plural, such as ``lines that are no label``.
        :param where: file and line.
        :param reason: what is wrong with it.
        :raises DatasetError: if strict.
        """
        if self._strict:
            raise DatasetError(where, reason)
        self._counts[what] = self._counts.get(what, 0) + 1
        examples = self._examples.setdefault(what, [])
        if len(examples) < self._shown:
            examples.append(f'{where}: {reason}')

    def notes(self) -> tuple[str, ...]:
        """
        Say what was skipped.

        :return: a line for each kind of thing, with a count and the first examples.
        """
        return tuple(
            f'skipped {count} {what}: ' + '; '.join(self._examples[what])
            for what, count in self._counts.items()
        )


class DirectoryIndex:
    """Which files are there, by listing each folder once instead of asking for each file."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str]] = {}

    def has(self, path: Path) -> bool:
        """
        Tell whether a file is there.

        :param path: of the file.
        :return: whether its folder lists it.
        """
        parent = str(path.parent)
        if parent not in self._listed:
            try:
                self._listed[parent] = frozenset(os.listdir(parent))  # noqa: PTH208 - names only
            except (OSError, ValueError):  # ValueError: a name that no folder can have
                self._listed[parent] = frozenset()
        return path.name in self._listed[parent]


def read_text(path: Path, limit: int = MAX_LIST) -> str:
    """
    Read a text file.

    :param path: of the file, in UTF-8, with or without a byte order mark.
    :param limit: largest size, bytes; checked before the file is read.
    :return: the text.
    :raises DatasetError: if it is missing, too large or not text.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            raise DatasetError(path, 'cannot be read as text: not a file')
        if status.st_size > limit:
            raise DatasetError(path, f'expected at most {limit} bytes, got {status.st_size}')
        with path.open('rb') as file:
            # Not `limit`: Python allocates as many bytes as it is asked for.
            return file.read(status.st_size).decode('utf-8-sig')
    except FileNotFoundError as error:
        raise DatasetError(path, 'no such file') from error
    except (OSError, ValueError) as error:
        raise DatasetError(path, f'cannot be read as text: {error}') from error


def read_xml(path: Path) -> ElementTree.Element:
    """
    Read the XML annotation of an image.

    Document types are refused: annotations have none, and entities that are made of entities
    fill the memory.

    :param path: of the file.
    :return: the root element.
    :raises DatasetError: if it is missing, too large or not XML.
    """
    text = read_text(path, MAX_ANNOTATION)
    if text.count('<') > MAX_TAGS:
        raise DatasetError(path, f'not XML that can be read: expected at most {MAX_TAGS} tags')
    if DOCUMENT_TYPE.search(text):
        raise DatasetError(path, 'not XML that can be read: expected no DOCTYPE and no entities')
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(path, f'not XML: {error}') from error


def read_classes(root: Path) -> tuple[str, ...]:
    """
    Read the class list of a dataset.

    :param root: folder with ``classes.txt``, one name a line.
    :return: the names in the order of their labels.
    :raises DatasetError: if the file is missing, empty or repeats a name.
    """
    path = root / 'classes.txt'
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names or len(set(names)) != len(names):
        raise DatasetError(path, f'expected class names that differ, one a line, got {names}')
    return names


def header_size(path: Path) -> tuple[int, int]:
    """
    Read the size of an image from its header, as the decoder turns it upright.

    :param path: the image file.
    :return: (height, width), pixels.
    :raises DatasetError: if the file is missing or not an image.
    """
    try:
        width, height = read_image_size(path)
    except ImageFileError as error:
        raise DatasetError(path, error.reason) from error
    return height, width


def unique_names(paths: Sequence[Path], root: Path) -> list[str]:
    """
    Name images by their files.

    :param paths: the image files.
    :param root: the folder of the dataset.
    :return: the stems; where two are the same, the paths from the root without suffix; where
        even these are the same, with it.
    """
    plain = [path.stem for path in paths]
    if _differ(plain):
        return plain
    inside = [path.relative_to(root) if path.is_relative_to(root) else path for path in paths]
    longer = [path.with_suffix('').as_posix() for path in inside]
    return longer if _differ(longer) else [path.as_posix() for path in inside]


def _differ(names: Iterable[str]) -> bool:
    """Tell whether no name is there twice."""
    names = list(names)
    return len(set(names)) == len(names)
