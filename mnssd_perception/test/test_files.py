"""Files that are complete or not there at all, and where the cache is."""

import errno
import os
from pathlib import Path
import stat

from mnssd_perception.files import (
    cache_folder,
    explain_write_error,
    sync_folder,
    write_atomically,
)
import pytest


def test_an_empty_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / 'empty', b'')
    assert (tmp_path / 'empty').read_bytes() == b''
    assert list(tmp_path.iterdir()) == [tmp_path / 'empty']


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    for content in (b'old and long', b'new'):
        write_atomically(path, content)
    assert path.read_bytes() == b'new'


@pytest.mark.parametrize('error', [OSError(errno.EIO, 'Input/output error'), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / 'file'
    path.write_bytes(b'old')

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(type(error)):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_synced_after_the_content_and_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, list[str]]] = []

    def record(handle: int) -> None:
        names = [path.name for path in tmp_path.iterdir()]
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), names))

    monkeypatch.setattr(os, 'fsync', record)
    write_atomically(tmp_path / 'file', b'content')
    assert synced == [(False, ['file.partial']), (True, ['file'])]


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter((errno.EINVAL, errno.EIO))

    def fail(_: int) -> None:
        raise OSError(next(numbers), 'cannot sync')

    monkeypatch.setattr(os, 'fsync', fail)
    sync_folder(tmp_path)
    with pytest.raises(OSError, match='cannot sync'):
        sync_folder(tmp_path)


def test_a_full_disk_is_explained_with_the_free_space(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, 'No space left on device')
    words = explain_write_error(full, tmp_path / 'file', 12_345_678)
    assert words.startswith('No space left on device: the file needs 12.35 MB, ')
    assert words.endswith(f' MB are free in {tmp_path}')
    assert explain_write_error(full, tmp_path / 'gone' / 'file', 1) == 'No space left on device'
    other = OSError(errno.EACCES, 'Permission denied')
    assert explain_write_error(other, tmp_path / 'file', 1) == 'Permission denied'


@pytest.mark.parametrize('value', ['', 'relative/path'])
def test_cache_is_below_the_home_folder(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', value)
    monkeypatch.setenv('HOME', '/home/somebody')
    assert cache_folder() == Path('/home/somebody/.cache/mnssd')


def test_xdg_cache_home_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', '/var/cache/of/somebody')
    assert cache_folder() == Path('/var/cache/of/somebody/mnssd')


def test_user_without_a_home_folder_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> None:
        raise RuntimeError

    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setattr('pathlib.Path.home', homeless)
    assert cache_folder() is None
