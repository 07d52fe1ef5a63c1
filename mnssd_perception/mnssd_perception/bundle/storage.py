"""
The files of a bundle, in a directory or in a zip archive, read without trust.

Links, special files, repeated members and members that the manifest does not announce are
refused; nothing is ever extracted to disk.
"""

from abc import ABC, abstractmethod
import os
from pathlib import Path
import stat
import zipfile
import zlib

from mnssd_perception.errors import BundleError

__all__ = ['open_storage', 'Storage']

MAX_MEMBERS = 10_000

# What training writes; LZMA and the like may ask for gigabytes of memory, whatever they hold.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


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

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """
        Read one file.

        :param name: one of :meth:`names`.
        :param limit: more bytes than this are an error.
        :raises BundleError: if it cannot be read or is larger.
        """


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
                        raise BundleError(self.path, f'expected at most {MAX_MEMBERS} members')
        return found

    def read(self, name: str, limit: int) -> bytes:
        """Read a file of the directory."""
        place = self.path / name
        try:
            status = place.lstat()
            if not stat.S_ISREG(status.st_mode):  # a pipe put there since would make us wait
                raise BundleError(self.path, f'{name!r} is a link or a special file')
            with place.open('rb') as file:
                content = file.read(min(limit, status.st_size) + 1)
        except OSError as error:
            raise BundleError(self.path, f'cannot read {name!r}: {error.strerror}') from error
        if len(content) > limit:
            raise BundleError(self.path, f'{name!r} is larger than {limit} bytes')
        return content


class ZipStorage(Storage):
    """A bundle that is a zip archive."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            size = path.stat().st_size
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            OSError,
            OverflowError,
            ValueError,
        ) as error:
            raise BundleError(path, f'not a zip archive, or cut short: {error}') from error
        if len(members) > MAX_MEMBERS:
            raise BundleError(path, f'expected at most {MAX_MEMBERS} members')
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
            if member.compress_size > size:
                raise BundleError(path, f'{member.filename!r} announces more than there is')
            self._members[member.filename] = member

    def names(self) -> set[str]:
        """List the members of the archive."""
        return set(self._members)

    def read(self, name: str, limit: int) -> bytes:
        """Read a member of the archive; its announced size is not believed."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[name]) as file:
                content = file.read(limit + 1)
        except KeyError as error:
            raise BundleError(self.path, f'there is no {name!r}') from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            NotImplementedError,
            OverflowError,
            RuntimeError,
            ValueError,
        ) as error:
            raise BundleError(self.path, f'cannot read {name!r}: {error}') from error
        if len(content) > limit:
            raise BundleError(self.path, f'{name!r} is larger than {limit} bytes')
        return content


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
