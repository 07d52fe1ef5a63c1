"""What a reader of one data set format gives, and what all readers share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import os
from pathlib import Path
import struct
import warnings

from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = [
    'Folders',
    'header_size',
    'IGNORE_NAMES',
    'IMAGE_SUFFIXES',
    'MAX_SIDE',
    'read_classes',
    'read_text',
    'Reading',
    'Regions',
    'Tally',
    'unique_names',
]

IGNORE_NAMES = frozenset({'dontcare', 'ignore', 'ignored', 'ignored regions', 'misc'})
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
MAX_SIDE = 1 << 16  # pixels
FLOAT32 = struct.Struct('4f')
EXIF_ORIENTATION, QUARTER_TURNS = 0x0112, range(5, 9)  # Exif 2.3, 4.6.4 A


@dataclass(frozen=True)
class Reading:
    """
    One split of one data set, in its own class names.

    :ivar class_names: the labels of the samples count in these.
    :ivar samples: the photographs.
    :ivar declared: whether the data set lists its classes; else they were found in annotations.
    :ivar ids: class names by the numbers that the data set gives them, if it does.
    :ivar notes: what was skipped, for the user to read.
    """

    class_names: tuple[str, ...]
    samples: list[Sample]
    declared: bool = True
    ids: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Regions:
    """
    The boxes of one photograph as they are gathered.

    :param width: of the photograph, pixels.
    :param height: of the photograph, pixels.
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
        Cut a box at the edges of the photograph, as float32, which is what is kept.

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
        Tell whether a box has a point in common with the photograph.

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


class Tally:
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


class Folders:
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


def read_text(path: Path) -> str:
    """
    Read a text file.

    :param path: of the file, in UTF-8, with or without a byte order mark.
    :return: the text.
    :raises DatasetError: if it is missing or not text.
    """
    try:
        return path.read_text(encoding='utf-8-sig')
    except FileNotFoundError as error:
        raise DatasetError(path, 'no such file') from error
    except (OSError, ValueError) as error:
        raise DatasetError(path, f'cannot be read as text: {error}') from error


def read_classes(root: Path) -> tuple[str, ...]:
    """
    Read the class list of a data set.

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
    Read the size of a photograph from its header.

    A JPEG that its camera took upright is given as it is seen, which is how OpenCV decodes it.

    :param path: the image file.
    :return: (height, width), pixels.
    :raises DatasetError: if the file is missing or not an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # many pixels, broken EXIF: nothing is decoded here
            with Image.open(path) as image:
                width, height = image.size
                turned = image.format in ('JPEG', 'MPO') and 'exif' in image.info
                if turned and image.getexif().get(EXIF_ORIENTATION) in QUARTER_TURNS:
                    width, height = height, width
    except UnidentifiedImageError as error:
        raise DatasetError(path, 'not an image') from error
    except OSError as error:
        raise DatasetError(path, f'cannot read the image: {error.strerror or error}') from error
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise DatasetError(path, f'not an image that can be read: {error}') from error
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise DatasetError(path, f'expected sides of 1 to {MAX_SIDE}, got {width} x {height}')
    return height, width


def unique_names(paths: Sequence[Path], root: Path) -> list[str]:
    """
    Name photographs by their files.

    :param paths: the image files.
    :param root: the folder of the data set.
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
