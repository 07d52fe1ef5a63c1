"""Inputs of a step to a stamp that says with which of them it was last done."""

from __future__ import annotations

from collections.abc import Iterable
import hashlib
from pathlib import Path

__all__ = ['digest_files', 'digest_texts', 'is_stamped', 'remove_stamp', 'write_stamp']


def digest_texts(texts: Iterable[str]) -> str:
    """
    Digest a series of texts, so that no two series share a digest.

    :param texts: in an order that means something.
    """
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, 'little') + encoded)
    return digest.hexdigest()


def digest_files(folder: Path, names: Iterable[str]) -> str:
    """
    Digest files by name and content.

    :param folder: that the names are relative to.
    :param names: of the files; one that does not exist counts as such.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        path = folder / name
        content = path.read_bytes() if path.is_file() else None
        digest.update(f'{name}\0{-1 if content is None else len(content)}\0'.encode())
        digest.update(content or b'')
    return digest.hexdigest()


def _path(state: Path, name: str) -> Path:
    return state / f'{name}.stamp'


def is_stamped(state: Path, name: str, digest: str) -> bool:
    """
    Say whether a step was done with these very inputs.

    :param state: folder of the stamps.
    :param name: of the step.
    :param digest: of its inputs.
    """
    path = _path(state, name)
    return path.is_file() and path.read_text() == digest


def remove_stamp(state: Path, name: str) -> None:
    """
    Take a stamp back, before the step begins.

    :param state: folder of the stamps.
    :param name: of the step.
    """
    _path(state, name).unlink(missing_ok=True)


def write_stamp(state: Path, name: str, digest: str) -> None:
    """
    Stamp a step that has ended well; a stamp is there wholly or not at all.

    :param state: folder of the stamps.
    :param name: of the step.
    :param digest: of its inputs.
    """
    state.mkdir(parents=True, exist_ok=True)
    unfinished = state / f'{name}.unfinished'
    unfinished.write_text(digest)
    unfinished.replace(_path(state, name))
