"""Tests of the folder of a recording."""

import os
from pathlib import Path
from types import SimpleNamespace

from mnssd_perception.errors import RecordingError
from mnssd_perception.recording import folder, prepare_folder
import pytest


def test_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    prepare_folder(tmp_path / 'a' / 'b')
    assert list((tmp_path / 'a' / 'b').iterdir()) == []


def test_existing_folder_keeps_its_files(tmp_path: Path) -> None:
    (tmp_path / 'old').write_text('kept')
    prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['old']


def test_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(RecordingError, match='choose another folder'):
        prepare_folder(tmp_path / 'file')
    with pytest.raises(RecordingError, match='choose another folder'):
        prepare_folder(tmp_path / 'file' / 'below')


@pytest.mark.skipif(os.geteuid() == 0, reason='root has all permissions')
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RecordingError, match='Permission denied'):
        prepare_folder(tmp_path)


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='needs /proc')
def test_read_only_file_system_is_refused() -> None:
    with pytest.raises(RecordingError, match='/proc/mnssd'):
        prepare_folder(Path('/proc/mnssd'))


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=5 * 2**20)
    monkeypatch.setattr(folder.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(RecordingError, match='is full: expected at least 64 MB, got 5'):
        prepare_folder(tmp_path)
