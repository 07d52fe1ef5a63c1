"""Read the text files of a dataset, with limits on their size, and look files up in folders."""

from collections.abc import Sequence
from contextlib import suppress
import os
from pathlib import Path
import re
import stat
from xml.etree import ElementTree

from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_training.errors import DatasetError

MAX_LIST = 64 << 20  # bytes of a list of images or classes
MAX_ANNOTATION = 8 << 20  # bytes of the annotation of one image: tens of thousands of objects
MAX_TAGS = 400_000  # of an XML annotation: 20 an object; a tag takes hundreds of bytes of memory
DOCUMENT_TYPE = re.compile(r'<!\s*(DOCTYPE|ENTITY)', re.IGNORECASE)


class DirectoryIndex:
    """Which files exist, by listing each folder once instead of asking for each file."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str]] = {}

    def has(self, path: Path) -> bool:
        """Return whether the folder of a path lists it."""
        parent = str(path.parent)
        if parent not in self._listed:
            self._listed[parent] = frozenset()
            with suppress(OSError, ValueError):  # ValueError: a name that no folder can have
                self._listed[parent] = frozenset(os.listdir(parent))  # noqa: PTH208 - names only
        return path.name in self._listed[parent]


def list_image_files(folder: Path) -> list[Path]:
    """List the images in a folder and below it, sorted."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)


def read_text(path: Path, limit: int = MAX_LIST) -> str:
    """
    Read a text file in UTF-8, with or without a byte order mark.

    :param limit: largest size, bytes; checked before the file is read.
    :raises DatasetError: if it is missing, too large or not text.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait forever
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
    Read the XML annotation of an image; return its root element.

    :raises DatasetError: if it is missing, too large, not XML, or has a document type, whose
        entities made of entities could fill the memory.
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


def choose_unique_names(*candidates: Sequence[str]) -> Sequence[str]:
    """Return the first of several lists of names that has no name twice, else the last."""
    return next((names for names in candidates if len(set(names)) == len(names)), candidates[-1])
