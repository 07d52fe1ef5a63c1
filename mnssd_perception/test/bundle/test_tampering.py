"""Tests of bundles that somebody has changed: each is refused, with a reason."""

import io
import json
import os
import struct
import tracemalloc
import zipfile

from mnssd_perception.bundle import open_bundle, storage
from mnssd_perception.bundle.manifest import MAX_BYTES
from mnssd_perception.errors import BundleError
import pytest


def refused(path, message=None):
    """Open a bundle, expect a refusal, and give its words."""
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    assert caught.value.path == path
    str(caught.value).encode()  # can be shown and logged
    return str(caught.value)


FILES = ('network.onnx', 'card.md', 'golden/one.jpg')
NEEDED = {'network.onnx': b'', 'network_int8.onnx': b'', 'golden/one.jpg': b''}


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('place', [0, 1, -1], ids=['first', 'second', 'last'])
def test_a_flipped_byte(store, members, name, place):
    content = bytearray(members[name])
    content[place] ^= 1
    members[name] = bytes(content)
    assert name in refused(store(members), 'was changed')


@pytest.mark.parametrize('name', [*FILES, 'empty.txt'])
def test_a_longer_file(store, members, name):
    members[name] += b'!'
    assert name in refused(store(members), 'is larger than')


@pytest.mark.parametrize('name', FILES)
def test_a_shorter_file(store, members, name):
    members[name] = members[name][:-1]
    assert name in refused(store(members), r'expected \d+ bytes, got \d+')


@pytest.mark.parametrize('name', [*FILES, 'empty.txt', 'manifest.json'])
def test_a_missing_file(store, members, name):
    del members[name]
    assert name in refused(store(members), 'is missing|there is no')


@pytest.mark.parametrize('name', ['extra', 'golden/two.jpg', 'Manifest.json', '.hidden', 'a\nb'])
def test_an_extra_file(store, members, name):
    members[name] = b''
    assert repr(name) in refused(store(members), 'does not list')


def test_two_files_exchanged(store, members):
    members['network.onnx'], members['card.md'] = members['card.md'], members['network.onnx']
    refused(store(members))


@pytest.mark.parametrize(
    'name', ['../out', '/out', '..\\out', 'a/../../out', './out', 'C:out', '//out', 'a//out']
)
def test_members_that_leave_the_archive(tmp_path, members, name):
    path = tmp_path / 'made'
    write_zip(path, members | {name: b'evil'})
    assert 'out' in refused(path, 'does not list')
    assert [item.name for item in tmp_path.iterdir()] == ['made']


@pytest.mark.parametrize('name', ['../out', '/out', '..\\out', 'a/../../out', './out', '', '.'])
def test_manifests_that_list_what_leaves_the_bundle(store, plain, members, name):
    plain['files'].append({'path': name, 'size': 4, 'sha256': 'sha256:' + '0' * 64})
    members['manifest.json'] = json.dumps(plain).encode()
    refused(store(members), 'a plain path inside the bundle')


# Manifests that are not what they should be.


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is not JSON'),
        (b'{', 'is not JSON'),
        (b'\xff\xfe\x00', 'is not JSON'),
        (b'\x00' * 100, 'is not JSON'),
        (b'null', 'expected an object'),
        (b'[]', 'expected an object'),
        (b'[' * 100_000, 'is not JSON'),
        (b'{"a":' * 100_000, 'is not JSON'),
        (b'[' * 100_000 + b']' * 100_000, 'is not JSON'),
        (b'9' * 100_000, 'is not JSON'),
        (b'{"schema": 1, "schema": 1}', "'schema' is there twice"),
        (b'{"schema": NaN}', 'NaN is no number'),
        (b'{"schema": -Infinity}', '-Infinity is no number'),
        (b'{"schema": 1e999}', 'too large a number'),
        (b'{"schema": 3}', 'a newer mnssd'),
        (b'{"schema": 1}', "missing key 'name'"),
        (b' ' * (9 << 20), 'is larger than'),
    ],
    ids=[
        'empty', 'cut', 'no text', 'zeros', 'null', 'list', 'deep list', 'deep object', 'deep',
        'long number', 'twice', 'NaN', 'infinity', 'overflow', 'newer', 'nothing', 'large',
    ],
)  # fmt: skip
def test_manifests_that_cannot_be_read(store, members, content, message):
    members['manifest.json'] = content
    refused(store(members), message)


@pytest.mark.parametrize('number', ['NaN', 'Infinity', '1e400', '-1e400'])
@pytest.mark.parametrize('key', ['"score": 0.4', '"stride": [8.0', '"a": [1', '"boxes": [[1.0'])
def test_numbers_that_json_does_not_allow(store, members, key, number):
    text = members['manifest.json'].decode()
    start = key.rpartition(' ' if key[-1].isdigit() and '[' not in key else '[')[0]
    spoilt = text.replace(key, f'{start}{key[len(start)]}{number}', 1)
    assert spoilt != text
    members['manifest.json'] = spoilt.encode()
    refused(store(members), 'no number|too large')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('"score": 0.4', f'"score": 1{"0" * 400}', 'smaller number at thresholds.score'),
        ('"num_priors": 12', f'"num_priors": 1{"0" * 400}', 'num_priors'),
        ('"shape": [2', f'"shape": [1{"0" * 400}', 'at most 1000000 priors'),
        ('"size": 840', f'"size": 1{"0" * 400}', 'network.onnx: expected 0 to'),
        ('"score": 0.4', '"score": "0.4"', 'float at thresholds.score'),
        ('"car"', '"van"', 'class names that differ'),
        ('"car"', '"\\ud800"', 'printable'),
        ('"car"', '"a\\u0000"', 'printable'),
    ],
)
def test_manifests_with_one_thing_changed(store, members, old, new, message):
    text = members['manifest.json'].decode()
    assert old in text
    members['manifest.json'] = text.replace(old, new, 1).encode()
    refused(store(members), message)


def test_a_long_value_does_not_make_a_long_message(store, members, plain):
    frame = plain['golden'][0]
    plain['thresholds']['max_detections'] = 2000
    frame.update(boxes=[[1, 2, 3, 4]] * 999, scores=[0.5] * 999, labels=[7] * 999)
    members['manifest.json'] = json.dumps(plain).encode()
    assert len(refused(store(members), 'labels of 0 to 1')) < 700


def test_announcing_a_gigabyte_is_refused(store, members, plain):
    for entry in plain['files']:
        if entry['path'] == 'card.md':
            entry['size'] = MAX_BYTES // 2
    members['manifest.json'] = json.dumps(plain).encode()
    refused(store(members), f"'card.md': expected {MAX_BYTES // 2} bytes|expected at most")


# Directories.


@pytest.fixture
def directory(tmp_path, members):
    """Write the bundle as a directory."""
    for name, content in members.items():
        place = tmp_path / 'made' / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return tmp_path / 'made'


@pytest.mark.parametrize('target', ['/etc/hostname', 'card.md', 'nothing', '..'])
@pytest.mark.parametrize('name', ['network.onnx', 'manifest.json', 'extra', 'golden/extra'])
def test_a_link(directory, name, target):
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(target)
    assert repr(name) in refused(directory, 'is a link or a special file')


def test_a_link_to_the_right_content(directory, tmp_path):
    (directory / 'network.onnx').rename(tmp_path / 'elsewhere')
    (directory / 'network.onnx').symlink_to(tmp_path / 'elsewhere')
    refused(directory, 'is a link or a special file')


def test_a_linked_folder(directory, tmp_path):
    (directory / 'golden').rename(tmp_path / 'elsewhere')
    (directory / 'golden').symlink_to(tmp_path / 'elsewhere')
    refused(directory, 'is a link or a special file')


@pytest.mark.parametrize('name', ['network.onnx', 'extra'])
def test_a_pipe(directory, name):
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    refused(directory, 'is a link or a special file')


def test_a_bundle_that_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / 'made')
    refused(tmp_path / 'made', 'neither a directory nor a file')


def test_a_folder_in_place_of_a_file(directory):
    (directory / 'network.onnx').unlink()
    (directory / 'network.onnx').mkdir()
    refused(directory, "'network.onnx' is missing")


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_without_read_permission(directory):
    (directory / 'network.onnx').chmod(0)
    refused(directory, 'cannot read')


def test_very_deep_folders(directory):
    depth, place = 200, directory
    for _ in range(depth):
        place /= 'a'
        place.mkdir()
    try:
        open_bundle(directory)  # as empty folders are no files
    finally:
        for _ in range(depth):
            place.rmdir()
            place = place.parent


def test_too_many_files(directory, monkeypatch):
    monkeypatch.setattr('mnssd_perception.bundle.storage.MAX_MEMBERS', 4)
    refused(directory, 'at most 4 members')


def test_a_name_that_is_not_unicode(directory):
    (directory / os.fsdecode(b'\xff\xfe')).touch()
    refused(directory, r"does not list '\\udcff\\udcfe'")


# Archives.


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Write an archive; names are taken as they are."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path, members):
    """Write the bundle as an archive."""
    return write_zip(tmp_path / 'made', members)


def test_a_stored_archive(tmp_path, members):
    open_bundle(write_zip(tmp_path / 'made', members, zipfile.ZIP_STORED))


def test_folders_in_an_archive(tmp_path, members):
    open_bundle(write_zip(tmp_path / 'made', {'golden/': b'', **members, 'other/': b''}))


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, members, method):
    refused(write_zip(tmp_path / 'made', members, method), 'neither stored nor deflated')


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('name', ['network.onnx', 'manifest.json', 'golden/one.jpg'])
def test_a_member_that_is_there_twice(archive, members, name):
    with zipfile.ZipFile(archive, 'a') as opened:
        opened.writestr(name, members[name])
    assert repr(name) in refused(archive, 'is there twice')


@pytest.mark.parametrize('kind', [0o120777, 0o010666, 0o020666, 0o140777])
@pytest.mark.parametrize('name', ['network.onnx', 'extra'])
def test_a_link_in_an_archive(tmp_path, members, name, kind):
    members.pop(name, None)
    path = write_zip(tmp_path / 'made', members)
    with zipfile.ZipFile(path, 'a') as opened:
        member = zipfile.ZipInfo(name)
        member.external_attr = kind << 16
        opened.writestr(member, '/etc/hostname')
    assert repr(name) in refused(path, 'is a link or a special file')


def test_archives_cut_at_any_length_are_refused(archive):
    whole = archive.read_bytes()
    step = max(1, len(whole) // 100)
    for length in [*range(0, len(whole), step), *range(len(whole) - 30, len(whole))]:
        archive.write_bytes(whole[:length])
        refused(archive)


def test_a_change_of_any_byte_is_refused(archive, manifest):
    # What is opened all the same holds what was written: the byte was one that nobody reads.
    whole = archive.read_bytes()
    num_refused = 0
    for place in range(0, len(whole), max(1, len(whole) // 200)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0xFF
        archive.write_bytes(spoilt)
        try:
            assert open_bundle(archive).manifest == manifest
        except BundleError:
            num_refused += 1
    assert num_refused > 150


def test_bytes_before_and_after(archive, manifest):
    # Before, as in a self-extracting archive: harmless, as files are checked. Bytes after the end
    # are damage, and another reader might find another end among them.
    whole = archive.read_bytes()
    archive.write_bytes(b'#!/bin/sh\n' + whole)
    assert open_bundle(archive).manifest == manifest
    for more in (b'\0', b'\0' * 100, whole[-10:]):
        archive.write_bytes(whole + more)
        refused(archive, 'no directory at its end')


def central_entry(data, name):
    """Find a member's entry in the central directory."""
    place = data.index(b'PK\x01\x02')
    while data[place + 46 : place + 46 + len(name)] != name:
        place = data.index(b'PK\x01\x02', place + 1)
    return place


@pytest.mark.parametrize('size', [0, 1, 1000, (1 << 32) - 2])
@pytest.mark.parametrize('field', [20, 24], ids=['packed', 'unpacked'])
def test_announced_sizes_are_checked(archive, files, field, size):
    data = bytearray(archive.read_bytes())
    struct.pack_into('<I', data, central_entry(data, b'network.onnx') + field, size)
    archive.write_bytes(data)
    # One that announces too much may be read as far as it goes, if that is what was listed.
    try:
        assert open_bundle(archive).read('network.onnx') == files['network.onnx']
        assert size > 840
    except BundleError:
        pass


@pytest.mark.parametrize('announced', [10, 840, None], ids=['small', 'as listed', 'all'])
def test_a_bomb(tmp_path, members, announced):
    members['network.onnx'] = b'\0' * (50 << 20)
    path = write_zip(tmp_path / 'made', members)
    assert path.stat().st_size < 100_000
    if announced is not None:
        data = bytearray(path.read_bytes())
        struct.pack_into('<I', data, central_entry(data, b'network.onnx') + 24, announced)
        path.write_bytes(data)
    refused(path, 'is larger than 840|cannot read')


@pytest.mark.parametrize('store_files', [write_zip, None], ids=['zip', 'directory'])
def test_a_bomb_is_never_held_in_memory(tmp_path, resealed, store_files):
    # Every limit is kept: 16 MB of zeros, of which a reader needs to see 1 MB at a time.
    files = {**NEEDED, 'zeros': b'\0' * (16 << 20)}
    members = resealed(files)
    path = tmp_path / 'made'
    if store_files:
        write_zip(path, members)
    else:
        for name, content in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    del members, files
    tracemalloc.start()
    open_bundle(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_bomb_that_the_manifest_announces_rightly(tmp_path, resealed, monkeypatch):
    members = resealed({**NEEDED, 'zeros': b'\0' * (17 << 20)})
    path = tmp_path / 'made'
    monkeypatch.setattr('zlib.decompressobj', None)  # nothing is expanded
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as opened:
        opened.writestr('manifest.json', members.pop('manifest.json'), zipfile.ZIP_STORED)
        for name, content in members.items():
            opened.writestr(name, content)
    assert 'announces 17825792' in refused(path, 'expected at most 16')


def test_the_same_files_without_compression_are_accepted(tmp_path, resealed):
    members = resealed({**NEEDED, 'zeros': b'\0' * (17 << 20)})
    open_bundle(write_zip(tmp_path / 'made', members, zipfile.ZIP_STORED))


def test_a_bomb_that_the_manifest_announces(tmp_path, members, plain):
    plain['files'] += [
        {'path': f'bomb{n}', 'size': MAX_BYTES // 2, 'sha256': 'sha256:' + '0' * 64}
        for n in range(1000)
    ]
    members['manifest.json'] = json.dumps(plain).encode()
    refused(write_zip(tmp_path / 'made', members), 'bytes together')


# The end of an archive: 4 signature, 2 + 2 disks, 2 + 2 members, 4 size, 4 offset, 2 comment.


@pytest.fixture
def no_zipfile(archive, monkeypatch):
    """Fail where the directory of an archive would be parsed."""
    monkeypatch.setattr('zipfile.ZipFile', None)


@pytest.mark.usefixtures('no_zipfile')
@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ((10, '<H'), 257, 'at most 256 members, got 257'),
        ((10, '<H'), 0xFFFF, 'at most 256 members, got 65535'),
        ((12, '<I'), 65537, 'central directory of at most 65536 bytes, got 65537'),
        ((12, '<I'), 0xFFFFFFFF, 'central directory of at most'),
        ((20, '<H'), 1, 'without a comment'),
        ((0, '<I'), 0, 'no directory at its end'),
    ],
)
def test_an_end_that_announces_too_much_is_refused_before_parsing(archive, field, value, message):
    data = bytearray(archive.read_bytes())
    struct.pack_into(field[1], data, len(data) - 22 + field[0], value)
    archive.write_bytes(data)
    refused(archive, message)


@pytest.mark.usefixtures('no_zipfile')
def test_zip64_is_refused_before_parsing(archive):
    # The locator decides for zipfile, whatever the record after it says.
    data = archive.read_bytes()
    record = struct.pack('<4sQ2H2L4Q', b'PK\6\6', 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 46 << 40, 0)
    locator = struct.pack('<4sLQL', b'PK\6\7', 0, len(data) - 22, 1)
    archive.write_bytes(data[:-22] + record + locator + data[-22:])
    refused(archive, 'zip64')


def test_more_members_than_announced(tmp_path, members):
    path = write_zip(tmp_path / 'made', members | {f'{n}': b'' for n in range(300)})
    data = bytearray(path.read_bytes())
    struct.pack_into('<2H', data, len(data) - 22 + 8, 5, 5)
    path.write_bytes(data)
    refused(path, 'at most 256 members, got 306')


@pytest.mark.parametrize('offset', [0xFFFFFFFE, 0x7FFFFFFF, 1])
def test_a_member_whose_header_has_another_name(archive, offset):
    data = bytearray(archive.read_bytes())
    struct.pack_into('<I', data, central_entry(data, b'network.onnx') + 42, offset)
    archive.write_bytes(data)
    refused(archive)


def test_a_member_larger_than_the_archive(archive):
    # A zip64 offset that no file position can hold.
    data = bytearray(archive.read_bytes())
    place = central_entry(data, b'network.onnx')
    struct.pack_into('<I', data, place + 42, 0xFFFFFFFF)
    extra = struct.pack('<HHQ', 1, 8, (1 << 64) - 2)
    struct.pack_into('<H', data, place + 30, len(extra))
    data[place + 58 : place + 58] = extra
    end = data.rindex(b'PK\x05\x06')
    (size,) = struct.unpack_from('<I', data, end + 12)
    struct.pack_into('<I', data, end + 12, size + len(extra))
    archive.write_bytes(data)
    refused(archive)


def test_a_member_without_a_name(archive):
    data = bytearray(archive.read_bytes())
    data[central_entry(data, b'card.md') + 46] = 0  # where a name ends for zipfile
    archive.write_bytes(data)
    refused(archive, "'' has another name for other readers")


def test_a_member_whose_name_goes_on_after_a_nul(archive):
    data = archive.read_bytes().replace(b'golden/one.jpg', b'golden\0one.jpg')
    archive.write_bytes(data.replace(b'card.md', b'card.m\0'))
    refused(archive, "'card.m' has another name for other readers|'golden' has another name")


def test_a_member_that_announces_more_than_there_is_left(tmp_path, members):
    last = {'manifest.json': members.pop('manifest.json')}
    path = write_zip(tmp_path / 'made', members | last, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    struct.pack_into('<2I', data, central_entry(data, b'manifest.json') + 20, *[len(data)] * 2)
    path.write_bytes(data)
    refused(path, "cannot read 'manifest.json': (it is cut short|Overlapped entries)")


def test_an_encrypted_member(archive):
    data = bytearray(archive.read_bytes())
    for place in (data.index(b'PK\x03\x04') + 6, data.index(b'PK\x01\x02') + 8):
        data[place] |= 1
    archive.write_bytes(data)
    refused(archive, 'encrypted|cannot read')


# Changes after a bundle was opened.


@pytest.mark.parametrize('content', [b'', b'not really a networks' * 40, None])
def test_a_file_that_was_changed_since(directory, content):
    bundle = open_bundle(directory)
    if content is None:
        (directory / 'network.onnx').unlink()
    else:
        (directory / 'network.onnx').write_bytes(content)
    with pytest.raises(BundleError, match=r'network\.onnx'):
        bundle.read('network.onnx')
    assert bundle.read('card.md')


def test_a_file_that_became_a_pipe_since(directory):
    bundle = open_bundle(directory)
    (directory / 'network.onnx').unlink()
    os.mkfifo(directory / 'network.onnx')
    with pytest.raises(BundleError, match='is a link or a special file'):
        bundle.read('network.onnx')


@pytest.mark.parametrize('how', ['cut', 'gone', 'other', 'text', 'folder'])
def test_an_archive_that_was_changed_since(archive, members, how):
    bundle = open_bundle(archive)
    whole = archive.read_bytes()
    archive.unlink()
    if how == 'cut':
        archive.write_bytes(whole[:200])
    elif how == 'other':
        write_zip(archive, {name: content[::-1] for name, content in members.items()})
    elif how == 'text':
        archive.write_bytes(b'hello')
    elif how == 'folder':
        archive.mkdir()
    with pytest.raises(BundleError):
        bundle.read('network.onnx')


def test_the_expected_digest_detects_a_resealed_forgery(store, members, resealed, files):
    # Digests alone cannot tell who made a bundle; its own digest is what can be signed.
    files['network.onnx'] = b'another network'
    forged = resealed(files)
    assert open_bundle(store(forged)).digest
    assert forged['manifest.json'] != members['manifest.json']


def test_messages_about_damaged_files_stay_short():
    message = str(BundleError('x.mnssd', 'no such member: ' + 'a\n' * 50_000))
    assert len(message) < 1000
    assert message.isprintable()


@pytest.mark.parametrize('limit', [0, 1, 2 << 20])
def test_reads_are_bounded_by_the_limit(tmp_path, monkeypatch, limit):
    class File(io.BytesIO):
        def read(self, size=-1):
            assert 0 < size <= min(storage.CHUNK, limit + 1)
            return super().read(size)

    files = storage.DirectoryStorage(tmp_path)
    monkeypatch.setattr(files, '_open', lambda name: File(bytes(limit + 5)))
    with pytest.raises(BundleError, match=f"'a' is larger than {limit} bytes"):
        list(files.chunks('a', limit))
    monkeypatch.setattr(files, '_open', lambda name: File(bytes(limit)))
    assert sum(map(len, files.chunks('a', limit))) == limit


def test_the_largest_number_of_members_is_accepted(store, members, monkeypatch):
    path = store(members)
    num_members = len(members) + path.is_dir()  # a folder counts too
    monkeypatch.setattr(storage, 'MAX_MEMBERS', num_members)
    open_bundle(path)
    monkeypatch.setattr(storage, 'MAX_MEMBERS', num_members - 1)
    refused(path, f'at most {num_members - 1} members, got {num_members}')


def test_the_largest_directory_of_an_archive_is_accepted(tmp_path, members, monkeypatch):
    path = write_zip(tmp_path / 'made', members)
    size = storage.END_RECORD.unpack(path.read_bytes()[-storage.END_RECORD.size :])[5]
    monkeypatch.setattr(storage, 'MAX_DIRECTORY', size)
    open_bundle(path)
    monkeypatch.setattr(storage, 'MAX_DIRECTORY', size - 1)
    refused(path, f'central directory of at most {size - 1} bytes, got {size}')


def test_errors_of_the_system_while_reading_are_explained(tmp_path, monkeypatch):
    def fail(name):
        raise OSError(5, 'Input/output error')

    files = storage.DirectoryStorage(tmp_path)
    monkeypatch.setattr(files, '_open', fail)
    with pytest.raises(BundleError, match="cannot read 'a': Input/output error$"):
        list(files.chunks('a', 1))
