"""Tests of writing bundles."""

from dataclasses import replace
import hashlib
import os
import stat
import zipfile

from mnssd_perception.bundle import file_entries, open_bundle, write_bundle
from mnssd_perception.errors import BundleError, SpecError
import pytest


def test_no_files():
    assert file_entries({}) == ()


def test_file_entries():
    first, second = file_entries({'b': b'12', 'a': b''})
    assert (first.path, first.size) == ('a', 0)
    assert (second.path, second.size) == ('b', 2)
    assert second.sha256 == f'sha256:{hashlib.sha256(b"12").hexdigest()}'


def test_a_written_bundle_can_be_opened(tmp_path, manifest, files):
    path = tmp_path / 'made.mnssd'
    write_bundle(path, manifest, files)
    bundle = open_bundle(path)
    assert bundle.manifest == manifest
    assert {name: bundle.read(name) for name in files} == files
    assert [item.name for item in tmp_path.iterdir()] == ['made.mnssd']


def test_the_list_of_files_is_filled_in(tmp_path, manifest, files):
    write_bundle(tmp_path / 'made', manifest, files | {'more.txt': b'more'})
    assert open_bundle(tmp_path / 'made').read('more.txt') == b'more'


def test_equal_content_makes_an_equal_archive(tmp_path, manifest, files):
    write_bundle(tmp_path / 'one', manifest, files)
    write_bundle(tmp_path / 'two', manifest, dict(reversed(files.items())))
    assert (tmp_path / 'one').read_bytes() == (tmp_path / 'two').read_bytes()


def test_members_are_plain_files_of_one_date(tmp_path, manifest, files):
    write_bundle(tmp_path / 'made', manifest, files)
    with zipfile.ZipFile(tmp_path / 'made') as archive:
        for member in archive.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert stat.filemode(member.external_attr >> 16) == '-rw-r--r--'
            assert member.compress_type == zipfile.ZIP_DEFLATED
        assert archive.read('manifest.json').startswith(b'{\n "schema": 2,\n "name": "small",\n')


def test_an_older_bundle_is_replaced(tmp_path, manifest, files):
    path = tmp_path / 'made'
    write_bundle(path, manifest, files)
    write_bundle(path, replace(manifest, version='2'), files)
    assert open_bundle(path).version == '2'


def test_files_that_the_manifest_needs_must_be_there(tmp_path, manifest, files):
    del files['network.onnx']
    with pytest.raises(SpecError, match=r"'network\.onnx' is not among the files"):
        write_bundle(tmp_path / 'made', manifest, files)


def test_a_manifest_among_the_files_is_refused(tmp_path, manifest, files):
    with pytest.raises(SpecError, match='cannot list itself'):
        write_bundle(tmp_path / 'made', manifest, files | {'manifest.json': b'{}'})


@pytest.mark.parametrize(
    'value',
    [float('nan'), float('inf'), b'bytes', object()],
    ids=['nan', 'infinite', 'bytes', 'object'],
)
def test_metrics_that_json_cannot_hold_are_refused(tmp_path, manifest, files, value):
    metered = replace(manifest.artefacts[0], metrics={'ap': [value]})
    with pytest.raises(BundleError, match=r'manifest\.json cannot be JSON'):
        write_bundle(tmp_path / 'made', replace(manifest, artefacts=(metered,)), files)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'place', ['missing/made', 'file/made', 'folder'], ids=['no folder', 'a file', 'a folder']
)
def test_paths_that_cannot_be_written_are_refused(tmp_path, manifest, files, place):
    (tmp_path / 'file').write_bytes(b'')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(BundleError, match='cannot be written') as caught:
        write_bundle(tmp_path / place, manifest, files)
    assert caught.value.path == tmp_path / place
    assert sorted(item.name for item in tmp_path.iterdir()) == ['file', 'folder']


def test_a_full_disk_keeps_the_older_bundle(tmp_path, manifest, files, monkeypatch):
    path = tmp_path / 'made'
    write_bundle(path, manifest, files)

    def full(*_args, **_kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        BundleError, match=r'No space left on device: the file needs .* MB are free'
    ):
        write_bundle(path, replace(manifest, version='2'), files)
    monkeypatch.undo()
    assert open_bundle(path).version == '1.2.3'
    assert [item.name for item in tmp_path.iterdir()] == ['made']
