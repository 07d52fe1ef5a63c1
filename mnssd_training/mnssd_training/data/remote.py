"""Byte ranges of files at any address to bytes."""

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
import fcntl
import hashlib
import os
from pathlib import Path
import tempfile
import time
from typing import TypeVar
import zlib

import fsspec
from mnssd_perception.files import sync_folder
from mnssd_perception.text import mask_secrets
from mnssd_training.errors import DatasetError

TRIES = 3
FIRST_WAIT = 0.5  # seconds before the second try; doubled before each further one
BLOCK = 1 << 20  # bytes
T = TypeVar('T')


@dataclass(frozen=True)
class Shard:
    """
    A tar of images.

    :ivar url: a path, or an address that fsspec knows, such as ``s3://`` and ``https://``.
    :ivar size: bytes.
    :ivar sha256: of the whole tar, hex.
    :ivar cache: folder that keeps remote tars; empty to read each image where it is.
    """

    url: str
    size: int
    sha256: str
    cache: str = ''


@dataclass(frozen=True)
class ShardEntry:
    """
    The bytes of one image in a tar.

    :ivar shard: the tar.
    :ivar member: its name in the tar.
    :ivar offset: of its first byte.
    :ivar length: bytes.
    :ivar crc32: of these bytes.
    """

    shard: Shard
    member: str
    offset: int
    length: int
    crc32: int

    def __str__(self) -> str:
        """Name the tar and the member, without passwords."""
        return mask_secrets(f'{self.shard.url}:{self.member}')

    @property
    def name(self) -> str:
        """The file name, as of a path."""
        return self.member


def is_remote(url: str) -> bool:
    """
    Tell an address from a path.

    :param url: an address or a path.
    :return: whether it is an address such as ``s3://bucket/folder``.
    """
    return '://' in url and not url.startswith('file://')


def read_url(
    url: str, start: int | None = None, end: int | None = None, limit: int | None = None
) -> bytes:
    """
    Read a file or a part of it.

    :param url: a path or an address.
    :param start: first byte; None for the first of the file.
    :param end: the byte after the last; None for the end of the file.
    :param limit: refuse larger files before they are read; None for no limit.
    :return: the bytes, fewer where the file ends before.
    :raises DatasetError: if it cannot be read.
    """
    if not is_remote(url):
        return _read_local(Path(url.removeprefix('file://')), start or 0, end, limit)

    def read() -> bytes:
        # Looked up anew each time: a filesystem must not be used in a forked worker, and fsspec
        # keeps one for each process and thread.
        files, path = fsspec.core.url_to_fs(url)
        if limit is not None:
            with contextlib.suppress(FileNotFoundError):  # reading tells better what is wrong
                _check_size(url, files.size(path), limit)
        return bytes(files.cat_file(path, start=start, end=end))

    return _patiently(url, read)


def read_entry(entry: ShardEntry) -> bytes:
    """
    Read an image out of its tar.

    :param entry: which one.
    :return: its bytes.
    :raises DatasetError: if they cannot be read, or are not those of the index.
    """
    url = entry.shard.url
    if entry.shard.cache and is_remote(url):
        url = str(_keep(entry.shard))
    content = read_url(url, entry.offset, entry.offset + entry.length)
    if len(content) < entry.length:
        raise DatasetError(entry, f'expected {entry.length} bytes, got {len(content)}: cut short')
    if len(content) > entry.length:
        raise DatasetError(
            entry,
            'the server sends the whole file where a range is requested; '
            'set data.cache_dir to a folder',
        )
    if zlib.crc32(content) != entry.crc32:
        raise DatasetError(entry, 'other bytes than in the index; the shards were changed')
    return content


def _check_size(url: object, size: int | None, limit: int) -> None:
    """Refuse a file that is too large; some servers do not tell the size."""
    if size is not None and size > limit:
        raise DatasetError(url, f'expected at most {limit} bytes, got {size}')


def _read_local(path: Path, start: int, end: int | None, limit: int | None) -> bytes:
    """Read a file of this machine or a part of it."""
    try:
        with path.open('rb') as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None:
                _check_size(path, size, limit)
            file.seek(start)
            # Python allocates what is asked for before it reads.
            return file.read(max(0, min(size if end is None else end, size) - start))
    except FileNotFoundError as error:
        raise DatasetError(path, 'no such file') from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise DatasetError(path, f'cannot be read: {error}') from error


def _patiently(url: str, read: Callable[[], T]) -> T:
    """Read, again after a while where a network may have been at fault."""
    wait = FIRST_WAIT
    for left in reversed(range(TRIES)):
        try:
            return read()
        except ImportError as error:
            raise DatasetError(url, f'cannot be read: {error}') from error
        except FileNotFoundError as error:
            raise DatasetError(url, 'no such file') from error
        except DatasetError:
            raise
        except Exception as error:  # each filesystem has errors of its own
            if left == 0 or isinstance(error, PermissionError | ValueError):
                raise DatasetError(url, f'cannot be read: {_words(error)}') from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError


def _words(error: Exception) -> str:
    """Say what went wrong, in one line."""
    words = ' '.join(str(error).split())
    kind = type(error).__name__
    return f'{kind}: {words}' if words else kind


def _keep(shard: Shard) -> Path:
    """Copy a tar to the cache, unless it is there."""
    folder = Path(shard.cache).expanduser()
    kept = folder / f'{shard.sha256}.tar'
    if kept.exists():
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / f'{shard.sha256}.lock'):
            if not kept.exists():
                _fetch(shard, kept)
    except OSError as error:
        raise DatasetError(folder, f'cannot keep shards: {error.strerror}') from error
    return kept


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Let one worker fetch a tar while the others wait for it."""
    with path.open('w') as lock:
        with contextlib.suppress(OSError):  # a file system without locks: fetched twice, no harm
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(shard: Shard, kept: Path) -> None:
    """Copy a tar and check it."""
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix='.fetch-') as folder:
        part = Path(folder) / 'part'

        def copy() -> None:
            files, path = fsspec.core.url_to_fs(shard.url)
            with contextlib.suppress(FileNotFoundError):
                _check_size(shard.url, files.size(path), shard.size)
            files.get_file(path, str(part))

        _patiently(shard.url, copy)
        size, digest = part.stat().st_size, _sha256(part)
        if size < shard.size:
            raise DatasetError(shard.url, f'expected {shard.size} bytes, got {size}: cut short')
        if digest != shard.sha256:
            raise DatasetError(
                shard.url, f'expected SHA-256 {shard.sha256[:12]}..., got {digest[:12]}...'
            )
        part.replace(kept)
        sync_folder(kept.parent)


def _sha256(path: Path) -> str:
    """Digest a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
