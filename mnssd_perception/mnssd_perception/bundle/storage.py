"""
The files of a bundle, in a directory or in a zip archive, read without trust.

Links, special files, repeated members and members that the manifest does not announce are
refused; nothing is ever extracted to disk. What an archive announces is checked against limits
before anything of that size is parsed or allocated, and again while reading.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
import io
import os
from pathlib import Path
import stat
import struct
from typing import BinaryIO, IO
import zipfile
import zlib

from mnssd_perception.bundle.manifest import MAX_BYTES
from mnssd_perception.errors import BundleError

MAX_MEMBERS = 256  # files and folders
MAX_DIRECTORY = 64 << 10  # bytes of the central directory of an archive: 256 for each member

# Files of an archive together: networks and images hardly compress, so one that expands more than
# this is a decompression bomb (deflate can reach 1032 times).
MAX_EXPANSION = 8
EXPANSION_ALLOWANCE = 16 << 20  # bytes, for a small archive of text and zeros

CHUNK = 1 << 20  # bytes that are read at once

# What training writes; LZMA and the like may ask for gigabytes of memory, whatever they hold.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# APPNOTE 6.3.10, sections 4.3.15 and 4.3.16.
END_SIGNATURE, ZIP64_LOCATOR_SIGNATURE = b'PK\5\6', b'PK\6\7'
END_RECORD = struct.Struct('<4s4H2LH')
ZIP64_LOCATOR_LENGTH = 20

# What damaged files and archives raise.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    struct.error,
    ValueError,
)


class Storage(ABC):
    """
    Where the files of a bundle lie.

    :ivar path: of the bundle.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> set[str]:
        """
        List the files, with forward slashes.

        :raises BundleError: if one of them is not a plain file.
        """

    @property
    @abstractmethod
    def max_bytes(self) -> int:
        """Tell how much the files may hold together."""

    @abstractmethod
    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open one of the files."""

    def chunks(self, name: str, limit: int) -> Iterator[bytes]:
        """
        Read one file in pieces.

        :param name: one of :meth:`names`.
        :param limit: more bytes than this are an error.
        :raises BundleError: if it cannot be read or is larger.
        """
        num_bytes = 0
        try:
            with self._open(name) as file:
                while chunk := file.read(min(CHUNK, limit + 1)):
                    num_bytes += len(chunk)
                    if num_bytes > limit:
                        raise BundleError(self.path, f'{name!r} is larger than {limit} bytes')
                    yield chunk
        except UNREADABLE as error:
            reason = getattr(error, 'strerror', None) or error
            raise BundleError(self.path, f'cannot read {name!r}: {reason}') from error

    def read(self, name: str, limit: int) -> bytes:
        """
        Read one file.

        :param name: one of :meth:`names`.
        :param limit: more bytes than this are an error.
        :raises BundleError: if it cannot be read or is larger.
        """
        content = io.BytesIO()  # joining a list of chunks would hold everything twice
        for chunk in self.chunks(name, limit):
            content.write(chunk)
        return content.getvalue()


class DirectoryStorage(Storage):
    """A bundle that is a directory."""

    def names(self) -> set[str]:
        """List the files below the directory."""
        found, folders, num = set(), [''], 0
        while folders:
            folder = folders.pop()
            with os.scandir(f'{self.path}/{folder}') as items:
                for item in items:
                    name = f'{folder}{item.name}'
                    if item.is_file(follow_symlinks=False):
                        found.add(name)
                    elif item.is_dir(follow_symlinks=False):
                        folders.append(f'{name}/')
                    else:
                        raise BundleError(self.path, f'{name!r} is a link or a special file')
                    num += 1
                    if num > MAX_MEMBERS:
                        raise BundleError(self.path, _too_many(num))
        return found

    @property
    def max_bytes(self) -> int:
        """Tell how much the files may hold together."""
        return MAX_BYTES

    def _open(self, name: str) -> BinaryIO:
        """Open a file of the directory."""
        place = self.path / name
        if not stat.S_ISREG(place.lstat().st_mode):  # a pipe put there since would make us wait
            raise BundleError(self.path, f'{name!r} is a link or a special file')
        return place.open('rb')


class ZipStorage(Storage):
    """A bundle that is a zip archive."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with _open_archive(path) as archive:
                members = archive.infolist()
            self._size = path.stat().st_size
        except UNREADABLE as error:
            raise BundleError(path, f'not a zip archive, or cut short: {error}') from error
        if len(members) > MAX_MEMBERS:  # the central directory decides, not the announced number
            raise BundleError(path, _too_many(len(members)))
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            if member.filename.endswith('/'):  # is_dir() fails on an empty name
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise BundleError(path, f'{member.filename!r} is a link or a special file')
            if member.filename in self._members:
                raise BundleError(path, f'{member.filename!r} is there twice')
            if member.compress_type not in COMPRESSIONS:
                raise BundleError(path, f'{member.filename!r} is neither stored nor deflated')
            if member.compress_size > self._size:
                raise BundleError(path, f'{member.filename!r} announces more than there is')
            self._members[member.filename] = member

    def names(self) -> set[str]:
        """List the members of the archive."""
        return set(self._members)

    @property
    def max_bytes(self) -> int:
        """Tell how much the members may hold together."""
        return min(MAX_BYTES, EXPANSION_ALLOWANCE + MAX_EXPANSION * self._size)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member of the archive."""
        if name not in self._members:
            raise BundleError(self.path, f'there is no {name!r}')
        with _open_archive(self.path) as archive, archive.open(self._members[name]) as file:
            yield file


def open_storage(path: Path) -> Storage:
    """
    Look at a bundle.

    :param path: a directory or a zip archive.
    :return: its files.
    :raises BundleError: if it is neither.
    """
    if not path.exists():
        raise BundleError(path, 'no such file or directory')
    if path.is_dir():
        return DirectoryStorage(path)
    if not path.is_file():  # opening a pipe would wait for ever
        raise BundleError(path, 'neither a directory nor a file')
    return ZipStorage(path)


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive once its end says that its directory is of a reasonable size."""
    with path.open('rb') as file:
        _check_end_record(path, file)
        with zipfile.ZipFile(file) as archive:
            yield archive


def _check_end_record(path: Path, file: BinaryIO) -> None:
    """
    Read the end-of-central-directory record before :mod:`zipfile` does.

    Zipfile parses what the record announces, 12 us and 0.5 kB for each of up to millions of
    members. The record must be the last thing in the file, with no comment: then zipfile finds the
    same one. Zip64 is for archives that are larger than a bundle may be.
    """
    length = file.seek(0, os.SEEK_END)
    tail_length = min(length, ZIP64_LOCATOR_LENGTH + END_RECORD.size)
    file.seek(length - tail_length)
    tail = file.read(tail_length)
    record = tail[-END_RECORD.size :]
    if not record.startswith(END_SIGNATURE) or len(record) < END_RECORD.size:
        raise BundleError(path, 'not a zip archive, or cut short: no directory at its end')
    *_, num_members, directory_size, _, comment_length = END_RECORD.unpack(record)
    if comment_length:
        raise BundleError(path, 'expected a zip archive without a comment')
    if tail.startswith(ZIP64_LOCATOR_SIGNATURE):
        raise BundleError(path, 'expected a zip archive of less than 4 GiB, got one in zip64')
    if num_members > MAX_MEMBERS:
        raise BundleError(path, _too_many(num_members))
    if directory_size > MAX_DIRECTORY:
        raise BundleError(
            path,
            f'expected a central directory of at most {MAX_DIRECTORY} bytes, got {directory_size}',
        )


def _too_many(num_members: int) -> str:
    """Word what is wrong with a bundle of too many files."""
    return f'expected at most {MAX_MEMBERS} members, got {num_members}'
