"""Files and byte ranges at paths and addresses, with retries and a checked cache of shards."""

from collections.abc import Callable
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
T = TypeVar('T')


@dataclass(frozen=True)
class Shard:
    """
    A tar of images.

    :ivar url: a path, or an address that fsspec supports, such as ``s3://`` and ``https://``.
    :ivar size: bytes.
    :ivar cache: folder that keeps remote tars; empty to read each image by a range request.
    """

    url: str
    size: int
    sha256: str
    cache: str = ''


@dataclass(frozen=True)
class ShardEntry:
    """The bytes of one image in a tar: ``length`` bytes from ``offset`` on."""

    shard: Shard
    member: str
    offset: int
    length: int
    crc32: int

    def __str__(self) -> str:
        """Return tar and member, without passwords."""
        return mask_secrets(f'{self.shard.url}:{self.member}')

    @property
    def name(self) -> str:
        """The file name, as of a path."""
        return self.member


def is_remote(url: str) -> bool:
    """Tell an address such as ``s3://bucket/folder`` from a path."""
    return '://' in url and not url.startswith('file://')


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_url(
    url: str, start: int | None = None, end: int | None = None, limit: int | None = None
) -> bytes:
    """
    Read a file, or the bytes from ``start`` up to ``end``, fewer where the file ends before.

    :param url: a path or an address.
    :param limit: refuse larger files before they are read, bytes.
    :raises DatasetError: if it cannot be read.
    """
    if not is_remote(url):
        return _read_local(Path(url.removeprefix('file://')), start or 0, end, limit)

    def read() -> bytes:
        filesystem, path = _open_remote(url, limit)
        return bytes(filesystem.cat_file(path, start=start, end=end))

    return _retry(url, read)


def read_entry(entry: ShardEntry) -> bytes:
    """Read an image; raise :class:`DatasetError` if its bytes differ from the index."""
    url = entry.shard.url
    if entry.shard.cache and is_remote(url):
        url = str(_cache_shard(entry.shard))
    content = read_url(url, entry.offset, entry.offset + entry.length)
    if len(content) < entry.length:
        raise DatasetError(entry, f'expected {entry.length} bytes, got {len(content)}: cut short')
    if len(content) > entry.length:
        reason = 'the server sends the whole file where a range is requested'
        raise DatasetError(entry, f'{reason}; set data.cache_dir to a folder')
    if zlib.crc32(content) != entry.crc32:
        raise DatasetError(entry, 'other bytes than in the index; the shards were changed')
    return content


def _open_remote(url: str, limit: int | None) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return filesystem and path of an address; refuse a file above the limit."""
    # Not kept: a filesystem must not be used in a forked worker, and fsspec keeps one for each
    # process and thread.
    filesystem, path = fsspec.core.url_to_fs(url)
    if limit is not None:
        with contextlib.suppress(FileNotFoundError):  # the read has the better error
            _check_size(url, filesystem.size(path), limit)
    return filesystem, path


def _check_size(url: object, size: int | None, limit: int) -> None:
    if size is not None and size > limit:  # some servers do not tell the size
        raise DatasetError(url, f'expected at most {limit} bytes, got {size}')


def _read_local(path: Path, start: int, end: int | None, limit: int | None) -> bytes:
    try:
        with path.open('rb') as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None:
                _check_size(path, size, limit)
            file.seek(start)
            # Python allocates the requested size before it reads.
            return file.read(max(0, min(size if end is None else end, size) - start))
    except FileNotFoundError as error:
        raise DatasetError(path, 'no such file') from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise DatasetError(path, f'cannot be read: {error}') from error


def _retry(url: str, read: Callable[[], T]) -> T:
    """Read, and try again after a while where the network may have failed."""
    wait = FIRST_WAIT
    for tries_left in reversed(range(TRIES)):
        try:
            return read()
        except DatasetError:
            raise
        except ImportError as error:
            raise DatasetError(url, f'cannot be read: {error}') from error
        except FileNotFoundError as error:
            raise DatasetError(url, 'no such file') from error
        except Exception as error:  # each filesystem has errors of its own
            if tries_left == 0 or isinstance(error, PermissionError | ValueError):
                reason = ' '.join(f'{type(error).__name__}: {error}'.split()).removesuffix(':')
                raise DatasetError(url, f'cannot be read: {reason}') from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError


def _cache_shard(shard: Shard) -> Path:
    """
    Download a tar to the cache, unless it is there.

    The cache of fsspec would not do: it neither checks digests nor locks between processes.
    """
    folder = Path(shard.cache).expanduser()
    cached = folder / f'{shard.sha256}.tar'
    if cached.exists():
        return cached
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # One worker downloads a tar while the others wait for it.
        with (folder / f'{shard.sha256}.lock').open('w') as lock:
            with contextlib.suppress(OSError):  # no locks here: downloaded twice, no harm
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not cached.exists():
                _download(shard, cached)
    except OSError as error:
        raise DatasetError(folder, f'cannot keep shards: {error.strerror}') from error
    return cached


def _download(shard: Shard, cached: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix='.fetch-') as folder:
        part = Path(folder) / 'part'

        def copy() -> None:
            filesystem, path = _open_remote(shard.url, shard.size)
            filesystem.get_file(path, str(part))

        _retry(shard.url, copy)
        size, digest = part.stat().st_size, sha256_file(part)
        if size < shard.size:
            raise DatasetError(shard.url, f'expected {shard.size} bytes, got {size}: cut short')
        if digest != shard.sha256:
            expected = f'expected SHA-256 {shard.sha256[:12]}...'
            raise DatasetError(shard.url, f'{expected}, got {digest[:12]}...')
        part.replace(cached)
        sync_folder(cached.parent)
