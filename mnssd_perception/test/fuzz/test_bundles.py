"""Corrupt and forged bundles."""

from collections.abc import Callable
from functools import lru_cache
import hashlib
import json
import os
from pathlib import Path
import shutil
import struct
from typing import Any
import warnings
import zipfile

from fuzzing import corrupt_bytes, corrupt_data, fuzz_settings, refusal, write_files
from hypothesis import example, given
from hypothesis import strategies as st
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
import pytest

MANIFEST = 'manifest.json'
FORGED_NAMES = (
    '../out', '/out', '..\\out', 'C:\\out', 'a/../../out', './out', 'MANIFEST.JSON', 'a\nb',
    'x' * 60_000, '\u202eonnx', '//out', 'extra',
)  # fmt: skip
LINK, PIPE, DEVICE, SOCKET = 0o120777, 0o010644, 0o020666, 0o140777
# What a forger may write into a manifest with valid digests: a path of keys, and the value.
FORGED_VALUES: tuple[tuple[tuple[str | int, ...], Any], ...] = (
    (('schema',), 99),
    (('name',), '../../etc'),
    (('spec', 'input_size'), [0, 640]),
    (('spec', 'class_names'), ['Car', 'Car']),
    (('num_priors',), 1),
    (('prior_digest',), 'sha256:' + '0' * 64),
    (('files', 0, 'path'), '../network.onnx'),
    (('files', 0, 'path'), '/etc/passwd'),
    (('files', 0, 'size'), 1 << 61),
    (('artefacts',), []),
    (('artefacts', 0, 'path'), 'absent.onnx'),
    (('thresholds', 'score'), 7.0),
    (('thresholds', 'max_detections'), 0),
    (('golden', 0, 'scores', 0), 3.0),
    (('golden', 0, 'scores', 0), -1.0),
    (('golden', 0, 'labels', 0), 99),
    (('golden', 0, 'boxes'), []),
    (('golden', 0, 'score_threshold'), 0.0),
)


@lru_cache
def valid_files() -> dict[str, bytes]:
    """Read the shipped bundle with only one of its golden frames."""
    bundle = open_bundle(shipped_bundle_path())
    files = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    with zipfile.ZipFile(bundle.path) as archive:
        manifest = json.loads(archive.read(MANIFEST))
    for frame in manifest['golden'][1:]:
        files.pop(frame['path'], None)
    frame = manifest['golden'][0]
    for key in ('boxes', 'scores', 'labels'):
        frame[key] = frame[key][:2]
    manifest['golden'] = [frame]
    return resign(manifest, files)


def resign(manifest: dict[str, Any], files: dict[str, bytes]) -> dict[str, bytes]:
    """Write a manifest with the sizes and digests of the files, as a forger would."""
    entries = [
        {'path': name, 'size': len(content),
         'sha256': f'sha256:{hashlib.sha256(content).hexdigest()}'}
        for name, content in files.items()
    ]  # fmt: skip
    return {MANIFEST: json.dumps(manifest | {'files': entries}).encode(), **files}


def without_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != MANIFEST}


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_directory(path: Path, files: dict[str, bytes]) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    write_files(path, files)
    return path


def read_bundle(path: Path, is_unchanged: bool = False) -> None:
    """Assert what a node relies on; an unchanged bundle has the content of the valid one."""
    bundle, valid = open_bundle(path), valid_files()
    manifest = bundle.manifest
    assert manifest.num_priors == manifest.spec.num_priors
    assert 0 < manifest.thresholds.score < 1
    assert 0 <= manifest.thresholds.iou <= 1
    assert manifest.thresholds.max_detections >= 1
    for frame in manifest.golden:
        assert len(frame.boxes) == len(frame.scores) == len(frame.labels)
        assert all(0 < score <= 1 for score in frame.scores)
        assert all(0 <= label < manifest.spec.num_classes for label in frame.labels)
    for item in (*manifest.artefacts, *manifest.golden):
        assert bundle.read(item.path) == valid[item.path]
    if is_unchanged:
        assert bundle.digest == f'sha256:{hashlib.sha256(valid[MANIFEST]).hexdigest()}'
        assert all(bundle.read(name) == valid[name] for name in without_manifest(valid))


def refuses(path: Path, *, is_unchanged: bool = False) -> str:
    return refusal(read_bundle, path, is_unchanged, names=[str(path)])


WRITERS = pytest.mark.parametrize('write', [write_archive, write_directory])
Write = Callable[[Path, dict[str, bytes]], Path]


@WRITERS
def test_valid_bundle_is_accepted(tmp_path: Path, write: Write) -> None:
    assert not refuses(write(tmp_path / 'valid.mnssd', valid_files()), is_unchanged=True)


@WRITERS
@fuzz_settings()
@given(data=st.data())
def test_corrupt_file_is_refused(tmp_path: Path, write: Write, data: st.DataObject) -> None:
    files = dict(valid_files())
    name = data.draw(st.sampled_from(sorted(without_manifest(files))))
    files[name] = data.draw(corrupt_bytes(files[name]))
    assert refuses(write(tmp_path / 'corrupt.mnssd', files))


@WRITERS
@fuzz_settings()
@given(data=st.data())
def test_missing_added_and_exchanged_files_are_refused(
    tmp_path: Path, write: Write, data: st.DataObject
) -> None:
    files = dict(valid_files())
    first, second = data.draw(st.permutations(sorted(files)))[:2]
    way = data.draw(st.sampled_from(['remove', 'exchange', 'add', 'rename']))
    if way == 'exchange':
        files[first], files[second] = files[second], files[first]
    elif way == 'add':
        files[f'{first}.bak'] = files[first]
    else:
        content = files.pop(first)
        if way == 'rename':
            files[f'{first}x'] = content
    assert refuses(write(tmp_path / 'corrupt.mnssd', files))


@fuzz_settings()
@given(data=st.data())
def test_corrupt_archive_is_refused_or_unchanged(tmp_path: Path, data: st.DataObject) -> None:
    path = write_archive(tmp_path / 'corrupt.mnssd', valid_files())
    content = path.read_bytes()
    if data.draw(st.booleans()):
        content = data.draw(corrupt_bytes(content))
    else:  # a number in one of the headers
        signature = data.draw(st.sampled_from([b'PK\x01\x02', b'PK\x03\x04', b'PK\x05\x06']))
        start = content.rindex(signature) + data.draw(st.integers(4, 46))
        value = data.draw(st.sampled_from([0, 1, 8, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
        packed = struct.pack('<I' if value > 0xFFFF else '<H', value)
        content = (content[:start] + packed + content[start + len(packed) :])[: len(content)]
    path.write_bytes(content)
    refuses(path, is_unchanged=True)


@fuzz_settings()
@given(
    name=st.sampled_from(FORGED_NAMES) | st.text(min_size=1, max_size=9).map('a'.__add__),
    mode=st.sampled_from([0o100644, LINK, PIPE, DEVICE, SOCKET]),
    content=st.sampled_from([b'', b'/etc/passwd', bytes(1 << 22)]),
)
def test_forged_member_is_refused(tmp_path: Path, name: str, mode: int, content: bytes) -> None:
    path = write_archive(tmp_path / 'forged.mnssd', valid_files())
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    assert name.endswith('/') or refuses(path)


@pytest.mark.parametrize('name', [MANIFEST, 'network.onnx'])
def test_duplicate_member_is_refused(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / 'forged.mnssd', valid_files())
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'a') as archive:
        warnings.simplefilter('ignore')
        archive.writestr(name, valid_files()[name])
    assert refuses(path)


@pytest.mark.parametrize('way', ['link', 'loop', 'pipe', 'folder', 'device'])
@pytest.mark.parametrize('name', [MANIFEST, 'network.onnx', 'extra'])
def test_member_that_is_no_regular_file_is_refused(tmp_path: Path, name: str, way: str) -> None:
    path = write_directory(tmp_path / 'forged.mnssd', valid_files())
    member = path / name
    member.unlink(missing_ok=True)
    if way == 'pipe':
        os.mkfifo(member)
    elif way == 'folder':
        write_files(member, {'deep/file': b''})
    else:
        member.symlink_to({'link': '/etc/passwd', 'loop': member, 'device': '/dev/zero'}[way])
    assert refuses(path)


@pytest.mark.parametrize('sign', [False, True], ids=['unsigned', 'resigned'])
@fuzz_settings()
@given(data=st.data())
def test_changed_manifest_is_refused_or_valid(
    tmp_path: Path, sign: bool, data: st.DataObject
) -> None:
    files = valid_files()
    manifest = json.loads(files[MANIFEST])
    if sign:
        del manifest['files']
        changed = data.draw(corrupt_data(manifest))
        files = resign(changed, without_manifest(files))
    else:
        files = files | {MANIFEST: json.dumps(data.draw(corrupt_data(manifest))).encode()}
    refuses(write_directory(tmp_path / 'changed.mnssd', files))


@pytest.mark.parametrize(('keys', 'value'), FORGED_VALUES)
def test_forged_value_is_refused(tmp_path: Path, keys: tuple[str | int, ...], value: Any) -> None:
    manifest = json.loads(valid_files()[MANIFEST])
    parent = manifest
    for key in keys[:-1]:
        parent = parent[key]
    assert parent[keys[-1]] != value
    parent[keys[-1]] = value
    files = valid_files() | {MANIFEST: json.dumps(manifest).encode()}
    assert refuses(write_directory(tmp_path / 'forged.mnssd', files))


@fuzz_settings()
@given(text=st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
@example(text=b'[' * 200_000)
@example(text=b'{"a":' * 200_000)
@example(text=b'1' * 200_000)
@example(text=b'{"schema": NaN}')
@example(text=b' ' * (9 << 20))
@example(text=b'\xef\xbb\xbf{}')
def test_other_text_is_no_manifest(tmp_path: Path, text: bytes) -> None:
    files = valid_files() | {MANIFEST: text}
    assert refuses(write_directory(tmp_path / 'text.mnssd', files))


def test_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'bomb.mnssd'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(MANIFEST, valid_files()[MANIFEST])
        with archive.open('network.onnx', 'w', force_zip64=True) as file:
            for _ in range(96):
                file.write(bytes(1 << 24))
    assert refuses(path)
