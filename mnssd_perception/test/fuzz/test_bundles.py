"""Damaged and forged bundles."""

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

from fuzz_strategies import (
    attempt,
    changed_data,
    damaged_bytes,
    fuzz_settings,
    REFUSED,
    write_files,
)
from hypothesis import example, given
from hypothesis import strategies as st
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
import pytest

MANIFEST = 'manifest.json'
FORGED_NAMES = (
    '../out', '/out', '..\\out', 'C:\\out', 'a/../../out', './out', 'MANIFEST.JSON', 'a\nb',
    'x' * 60_000, '\u202eonnx', '//out', 'extra',
)  # fmt: skip
LINK, PIPE, DEVICE, SOCKET = 0o120777, 0o010644, 0o020666, 0o140777
# What a forger may write into a manifest whose digests fit: a path of keys, and the value.
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
def sound_files() -> dict[str, bytes]:
    """Read the shipped bundle without all but one of its golden frames."""
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
    """Write a manifest whose sizes and digests fit the files, as a forger would."""
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


def open_any(path: Path) -> Bundle | object:
    return attempt(lambda: open_bundle(path), [str(path)])


def has_sound_content(bundle: Any) -> bool:
    """Tell whether a bundle holds what the sound one holds, byte for byte."""
    files = sound_files()
    return bundle.digest == f'sha256:{hashlib.sha256(files[MANIFEST]).hexdigest()}' and all(
        bundle.read(name) == content for name, content in without_manifest(files).items()
    )


WRITERS = pytest.mark.parametrize('write', [write_archive, write_directory])
Write = Callable[[Path, dict[str, bytes]], Path]


@WRITERS
def test_sound_bundle_is_accepted(tmp_path: Path, write: Write) -> None:
    bundle = open_any(write(tmp_path / 'sound.mnssd', sound_files()))
    assert bundle is not REFUSED
    assert has_sound_content(bundle)


@WRITERS
@fuzz_settings()
@given(data=st.data())
def test_damaged_file_is_refused(tmp_path: Path, write: Write, data: st.DataObject) -> None:
    files = dict(sound_files())
    name = data.draw(st.sampled_from(sorted(without_manifest(files))))
    files[name] = data.draw(damaged_bytes(files[name]))
    assert open_any(write(tmp_path / 'damaged.mnssd', files)) is REFUSED


@WRITERS
@fuzz_settings()
@given(data=st.data())
def test_missing_added_and_exchanged_files_are_refused(
    tmp_path: Path, write: Write, data: st.DataObject
) -> None:
    files = dict(sound_files())
    one, other = data.draw(st.permutations(sorted(files)))[:2]
    way = data.draw(st.sampled_from(['remove', 'exchange', 'add', 'rename']))
    if way == 'exchange':
        files[one], files[other] = files[other], files[one]
    elif way == 'add':
        files[f'{one}.bak'] = files[one]
    else:
        content = files.pop(one)
        if way == 'rename':
            files[f'{one}x'] = content
    assert open_any(write(tmp_path / 'damaged.mnssd', files)) is REFUSED


@fuzz_settings()
@given(data=st.data())
def test_damaged_archive_is_refused_or_holds_the_same(tmp_path: Path, data: st.DataObject) -> None:
    path = write_archive(tmp_path / 'damaged.mnssd', sound_files())
    content = path.read_bytes()
    if data.draw(st.booleans()):
        content = data.draw(damaged_bytes(content))
    else:  # a number in one of the headers
        signature = data.draw(st.sampled_from([b'PK\x01\x02', b'PK\x03\x04', b'PK\x05\x06']))
        place = content.rindex(signature) + data.draw(st.integers(4, 46))
        value = data.draw(st.sampled_from([0, 1, 8, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
        packed = struct.pack('<I' if value > 0xFFFF else '<H', value)
        content = (content[:place] + packed + content[place + len(packed) :])[: len(content)]
    path.write_bytes(content)
    bundle = open_any(path)
    assert bundle is REFUSED or has_sound_content(bundle)


@fuzz_settings()
@given(
    name=st.sampled_from(FORGED_NAMES) | st.text(min_size=1, max_size=9).map('a'.__add__),
    mode=st.sampled_from([0o100644, LINK, PIPE, DEVICE, SOCKET]),
    content=st.sampled_from([b'', b'/etc/passwd', bytes(1 << 22)]),
)
def test_forged_member_is_refused(tmp_path: Path, name: str, mode: int, content: bytes) -> None:
    path = write_archive(tmp_path / 'forged.mnssd', sound_files())
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    assert name.endswith('/') or open_any(path) is REFUSED


@pytest.mark.parametrize('name', [MANIFEST, 'network.onnx'])
def test_member_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / 'forged.mnssd', sound_files())
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'a') as archive:
        warnings.simplefilter('ignore')
        archive.writestr(name, sound_files()[name])
    assert open_any(path) is REFUSED


@pytest.mark.parametrize('way', ['link', 'loop', 'pipe', 'folder', 'device'])
@pytest.mark.parametrize('name', [MANIFEST, 'network.onnx', 'extra'])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, way: str) -> None:
    path = write_directory(tmp_path / 'forged.mnssd', sound_files())
    member = path / name
    member.unlink(missing_ok=True)
    if way == 'pipe':
        os.mkfifo(member)
    elif way == 'folder':
        (member / 'deep').mkdir(parents=True)
        (member / 'deep' / 'file').touch()
    else:
        member.symlink_to({'link': '/etc/passwd', 'loop': member, 'device': '/dev/zero'}[way])
    assert open_any(path) is REFUSED


@fuzz_settings()
@given(data=st.data())
def test_changed_manifest_is_refused_or_stays_as_it_was_written(
    tmp_path: Path, data: st.DataObject
) -> None:
    files = dict(sound_files())
    manifest = data.draw(changed_data(json.loads(files[MANIFEST])))
    files[MANIFEST] = json.dumps(manifest).encode()
    bundle = open_any(write_directory(tmp_path / 'changed.mnssd', files))
    if bundle is not REFUSED:
        check_manifest(bundle)


@fuzz_settings()
@given(data=st.data())
def test_resigned_manifest_is_refused_or_sound(tmp_path: Path, data: st.DataObject) -> None:
    files = without_manifest(sound_files())
    sound = json.loads(sound_files()[MANIFEST])
    changed = data.draw(changed_data({key: sound[key] for key in sound if key != 'files'}))
    bundle = open_any(write_directory(tmp_path / 'resigned.mnssd', resign(changed, files)))
    if bundle is not REFUSED:
        check_manifest(bundle)


def check_manifest(bundle: Any) -> None:
    """Hold an accepted manifest against what the node relies on."""
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
        assert bundle.read(item.path) == sound_files()[item.path]


@pytest.mark.parametrize(('keys', 'value'), FORGED_VALUES)
def test_forged_value_is_refused(tmp_path: Path, keys: tuple[str | int, ...], value: Any) -> None:
    manifest = json.loads(sound_files()[MANIFEST])
    holder = manifest
    for key in keys[:-1]:
        holder = holder[key]
    assert holder[keys[-1]] != value
    holder[keys[-1]] = value
    files = sound_files() | {MANIFEST: json.dumps(manifest).encode()}
    assert open_any(write_directory(tmp_path / 'forged.mnssd', files)) is REFUSED


@fuzz_settings()
@given(text=st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
@example(text=b'[' * 200_000)
@example(text=b'{"a":' * 200_000)
@example(text=b'1' * 200_000)
@example(text=b'{"schema": NaN}')
@example(text=b' ' * (9 << 20))
@example(text=b'\xef\xbb\xbf{}')
def test_any_other_text_is_no_manifest(tmp_path: Path, text: bytes) -> None:
    files = sound_files() | {MANIFEST: text}
    assert open_any(write_directory(tmp_path / 'text.mnssd', files)) is REFUSED


def test_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'bomb.mnssd'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(MANIFEST, sound_files()[MANIFEST])
        with archive.open('network.onnx', 'w', force_zip64=True) as file:
            for _ in range(96):
                file.write(bytes(1 << 24))
    assert open_any(path) is REFUSED
