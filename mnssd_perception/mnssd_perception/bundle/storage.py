"""
Read the files of an untrusted bundle, in a directory or in a zip archive.

Links, special files, repeated members and members that the manifest does not announce are
refused; nothing is ever extracted to disk. What an archive announces is checked against limits
before anything of that size is parsed or allocated, and again while reading.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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

# What damaged files and archives raise; NotImplementedError is a RuntimeError.
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, OverflowError, RuntimeError, struct.error,
    ValueError,
)  # fmt: skip


class Storage(ABC):
    """
    The files of a bundle.

    :ivar max_bytes: that the files may hold together.
    """

    max_bytes = MAX_BYTES

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> set[str]:
        """
        List the files, with forward slashes.

        :raises BundleError: if one of them is not a plain file.
        """

    @abstractmethod
    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open one of the files."""

    def chunks(self, name: str, limit: int) -> Iterator[bytes]:
        """
        Read one file in chunks.

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
            # zipfile raises a bare EOFError
            reason = getattr(error, 'strerror', None) or str(error) or 'it is cut short'
            raise BundleError(self.path, f'cannot read {name!r}: {reason}') from error


class DirectoryStorage(Storage):
    """A bundle that is a directory."""

    def names(self) -> set[str]:
        """List the files below the directory."""
        names, folders, num_members = set(), [''], 0
        while folders:
            folder = folders.pop()
            with os.scandir(f'{self.path}/{folder}') as items:
                for item in items:
                    name = f'{folder}{item.name}'
                    if item.is_file(follow_symlinks=False):
                        names.add(name)
                    elif item.is_dir(follow_symlinks=False):
                        folders.append(f'{name}/')
                    else:
                        raise BundleError(self.path, f'{name!r} is a link or a special file')
                    num_members += 1
                    if num_members > MAX_MEMBERS:
                        raise _too_many(self.path, num_members)
        return names

    def _open(self, name: str) -> BinaryIO:
        path = self.path / name
        if not stat.S_ISREG(path.lstat().st_mode):  # a pipe put there since would make us wait
            raise BundleError(self.path, f'{name!r} is a link or a special file')
        return path.open('rb')


class ZipStorage(Storage):
    """A bundle that is a zip archive."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with _open_archive(path) as archive:
                members = archive.infolist()
            size = path.stat().st_size
        except UNREADABLE as error:
            raise BundleError(path, f'not a zip archive, or cut short: {error}') from error
        if len(members) > MAX_MEMBERS:  # the central directory decides, not the announced number
            raise _too_many(path, len(members))
        self.max_bytes = min(MAX_BYTES, EXPANSION_ALLOWANCE + MAX_EXPANSION * size)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            if member.orig_filename.endswith('/'):  # is_dir() fails on an empty name
                continue
            reason = ''
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                reason = 'is a link or a special file'
            elif member.orig_filename != member.filename:  # zipfile ends a name at a NUL
                reason = 'has another name for other readers'
            elif member.filename in self._members:
                reason = 'is there twice'
            elif member.compress_type not in COMPRESSIONS:
                reason = 'is neither stored nor deflated'
            elif member.compress_size > size:
                reason = 'announces more than there is'
            if reason:
                raise BundleError(path, f'{member.filename!r} {reason}')
            self._members[member.filename] = member

    def names(self) -> set[str]:
        """List the members of the archive."""
        return set(self._members)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if name not in self._members:
            raise BundleError(self.path, f'there is no {name!r}')
        with _open_archive(self.path) as archive, archive.open(self._members[name]) as file:
            yield file


def open_storage(path: Path) -> Storage:
    """
    Open a directory or a zip archive.

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
    """Open an archive if its end record announces a directory of a reasonable size."""
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
        raise _too_many(path, num_members)
    if directory_size > MAX_DIRECTORY:
        raise BundleError(
            path,
            f'expected a central directory of at most {MAX_DIRECTORY} bytes, got {directory_size}',
        )


def _too_many(path: Path, num_members: int) -> BundleError:
    return BundleError(path, f'expected at most {MAX_MEMBERS} members, got {num_members}')
