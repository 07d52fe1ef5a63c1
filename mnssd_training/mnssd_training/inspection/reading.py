"""Files, lists and numbers to values, or to findings where there is something wrong."""

from collections.abc import Callable, Iterable, Sequence
import math
from pathlib import Path
from typing import TypeVar

from mnssd_training.data import reading
from mnssd_training.data.reading import IMAGE_SUFFIXES, MAX_ANNOTATION, MAX_LIST
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.records import Entry

MAX_SHOWN = 60  # characters of a text in a finding
T = TypeVar('T')


def attempt(read: Callable[[], T], path: Path, kind: str, findings: list[Finding]) -> T | None:
    """
    Read as the readers of training do.

    :param read: what to do.
    :param path: of the file.
    :param kind: of the finding if it cannot be read.
    :param findings: gets it.
    :return: what was read, or None.
    """
    try:
        return read()
    except DatasetError as error:
        file = str(error.path)
        findings.append(Finding(kind, file, '', str(error).removeprefix(f'{file}: ')))
        return None


def read_text(
    path: Path, kind: str, findings: list[Finding], limit: int = MAX_ANNOTATION
) -> str | None:
    """
    Read a text file.

    :param path: of the file.
    :param kind: of the finding if it cannot be read.
    :param findings: gets it.
    :param limit: largest size, bytes.
    :return: the text, or None.
    """
    return attempt(lambda: reading.read_text(path, limit), path, kind, findings)


def find_list(root: Path, split: str, folder: Path) -> Path:
    """
    Find the list of a split.

    :param root: of the dataset.
    :param split: name of the list, or its path, from the root or from here.
    :param folder: where lists are, from the root.
    :return: its path; there may be no such file.
    """
    if not split.endswith('.txt'):
        return root / folder / f'{split}.txt'
    return root / split if (root / split).is_file() else Path(split).expanduser()


def read_list(path: Path, findings: list[Finding]) -> list[str]:
    """
    Read the names of a split.

    :param path: of the list, a name or a path a line.
    :param findings: gets what is wrong with it.
    :return: each name once, in the order of the list.
    """
    text = read_text(path, 'list unreadable', findings, MAX_LIST)
    if text is None:
        return []
    places: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if name in places:
            words = f'{name!r} stands on line {places[name]} too'
            findings.append(Finding('listed twice', str(path), f'line {number}', words))
        elif name:
            places[name] = number
    if not places:
        findings.append(Finding('list unreadable', str(path), '', 'the list is empty'))
    return list(places)


def read_class_list(path: Path, findings: list[Finding]) -> tuple[str, ...]:
    """
    Read the class names of a dataset.

    :param path: of the list, a name a line.
    :param findings: gets what is wrong with it.
    :return: the names in the order of their labels, as they are written.
    """
    text = read_text(path, 'class list wrong', findings)
    if text is None:
        return ()
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    if not names:
        findings.append(Finding('class list wrong', str(path), '', 'the list is empty'))
    for number, name in enumerate(names, 1):
        where = f'line {number}'
        if not name:
            findings.append(Finding('class list wrong', str(path), where, 'an empty line'))
        elif name in names[: number - 1]:
            words = f'{name!r} stands on line {names.index(name) + 1} too'
            findings.append(Finding('class list wrong', str(path), where, words))
    return tuple(names)


def read_numbers(
    texts: Iterable[object], path: Path, where: str, findings: list[Finding]
) -> tuple[float, ...] | None:
    """
    Read the numbers of one line, object or annotation.

    :param texts: the numbers as they are written.
    :param path: the file, for the finding.
    :param where: the place in it, for the finding.
    :param findings: gets what is wrong with them.
    :return: finite numbers, or None.
    """
    values = []
    for text in texts:
        try:
            if isinstance(text, bool):
                raise ValueError
            values.append(float(text))  # type: ignore[arg-type]
        except (OverflowError, TypeError, ValueError):
            words = f'expected a number, got {str(text)[:MAX_SHOWN]!r}'
            findings.append(Finding('bad value', str(path), where, words))
            return None
    if not all(map(math.isfinite, values)):
        words = f'expected finite numbers, got {", ".join(f"{value:g}" for value in values)}'
        findings.append(Finding('not finite', str(path), where, words))
        return None
    return tuple(values)


def image_files(folder: Path) -> list[Path]:
    """List the images in a folder and in those below it."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)


def strays(
    entries: Sequence[Entry],
    images: Sequence[Path],
    annotations: Sequence[Path],
    listed: Iterable[str] = (),
) -> list[Finding]:
    """
    Find files that have no partner, or that no list names.

    :param entries: what the lists name.
    :param images: all image files.
    :param annotations: all annotation files, one an image.
    :param listed: stems that further lists name.
    :return: the findings.
    """
    known = {Path(str(entry.image)).stem for entry in entries} | set(listed)
    image_stems = {path.stem for path in images}
    annotation_stems = {path.stem for path in annotations}
    findings = []
    for path in images:
        if path.stem not in annotation_stems and path.stem not in known:
            words = 'there is no annotation for it'
            findings.append(Finding('image without annotation', str(path), '', words))
        elif path.stem not in known:
            findings.append(Finding('in no split', str(path), '', 'no list names it'))
    for path in annotations:
        if path.stem not in image_stems:
            words = 'there is no image for it'
            findings.append(Finding('annotation without image', str(path), '', words))
    return findings
