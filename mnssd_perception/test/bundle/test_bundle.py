"""Tests of opening and reading a sound bundle."""

import hashlib
import json

from mnssd_perception.bundle import bundle as bundle_module
from mnssd_perception.bundle import open_bundle, shipped_bundle_path, storage, write_bundle
from mnssd_perception.bundle.manifest import manifest_to_plain
from mnssd_perception.errors import BundleError, MnssdError
import pytest


def test_opens(store, members, manifest):
    path = store(members)
    bundle = open_bundle(path)
    assert bundle.manifest == manifest
    assert (bundle.name, bundle.version, bundle.path) == ('small', '1.2.3', path)
    assert bundle.manifest.spec.class_names == ('car', 'van')
    assert bundle.digest == f'sha256:{hashlib.sha256(members["manifest.json"]).hexdigest()}'


def test_opens_by_a_string(store, members, manifest):
    assert open_bundle(str(store(members))).manifest == manifest


def test_the_expected_digest_is_compared_before_the_manifest_is_parsed(store, members):
    path = store(members)
    digest = open_bundle(path).digest
    assert open_bundle(path, digest).digest == digest
    with pytest.raises(BundleError, match=f"expected the digest 'sha256:00', got '{digest}'"):
        open_bundle(path, 'sha256:00')


def test_a_forged_manifest_has_another_digest(store, members):
    pinned = f'sha256:{hashlib.sha256(members["manifest.json"]).hexdigest()}'
    with pytest.raises(BundleError, match='expected the digest'):
        open_bundle(store(members | {'manifest.json': b'{'}), pinned)


def test_reads(store, members, files):
    bundle = open_bundle(store(members))
    for name, content in files.items():
        assert bundle.read(name) == content


@pytest.mark.parametrize('name', ['', 'manifest.json', 'nothing', '../small', '/etc/hostname'])
def test_reads_only_what_is_listed(store, members, name):
    with pytest.raises(BundleError, match='lists no'):
        open_bundle(store(members)).read(name)


def test_finds_an_artefact(store, members, manifest):
    bundle = open_bundle(store(members))
    fp32, openvino, int8, batch = manifest.artefacts
    assert bundle.artefact('onnxruntime') == fp32
    assert bundle.artefact('onnxruntime', 'int8') == int8
    assert bundle.artefact('onnxruntime', 'int8', has_batch=True) == batch
    assert bundle.artefact('onnxruntime', has_batch=True) == batch
    assert bundle.artefact('openvino') == openvino
    assert bundle.artefact('openvino', 'int8') is None
    assert bundle.artefact('tensorrt') is None


def test_a_bundle_of_schema_1_opens(store, manifest_1, files):
    members = {'manifest.json': json.dumps(manifest_to_plain(manifest_1)).encode(), **files}
    assert open_bundle(store(members)).manifest == manifest_1


@pytest.mark.parametrize('name', ['manifest', 'manifest_1'])
def test_each_schema_is_written_with_its_keys(name, request, tmp_path, files):
    manifest = request.getfixturevalue(name)
    write_bundle(tmp_path / 'made.mnssd', manifest, files)
    assert open_bundle(tmp_path / 'made.mnssd').manifest == manifest


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: path, 'no such file or directory'),
        (lambda path: path / 'deeper' / 'still', 'no such file or directory'),
        (lambda path: path.mkdir() or path, "no 'manifest.json'"),
        (lambda path: path.touch() or path, 'not a zip archive'),
        (lambda path: path.write_bytes(b'hello' * 99) and path, 'not a zip archive'),
        (lambda path: path.with_name('x' * 5000), 'cannot be read'),
        (lambda path: path.with_name('a\0b'), 'no such file'),
    ],
    ids=['nothing', 'no folder', 'empty folder', 'empty file', 'text', 'long name', 'NUL'],
)
def test_other_files_are_refused_as_bundles(tmp_path, make, message):
    path = make(tmp_path / 'none.mnssd')
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    assert caught.value.path == path


def test_a_bundle_may_be_moved_while_it_is_closed(tmp_path, manifest, files):
    write_bundle(tmp_path / 'a.mnssd', manifest, files)
    moved = (tmp_path / 'a.mnssd').rename(tmp_path / 'b')
    assert open_bundle(moved).name == 'small'


def test_shipped_bundle_is_sound():
    bundle = open_bundle(shipped_bundle_path())
    assert bundle.manifest.spec.class_names
    assert bundle.manifest.provenance.licence
    assert bundle.manifest.provenance.attribution
    assert bundle.manifest.golden
    assert bundle.artefact('onnxruntime') is not None


def test_an_installation_without_a_bundle_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr('importlib.resources.files', lambda _: tmp_path)
    with pytest.raises(MnssdError, match='no bundle was installed'):
        shipped_bundle_path()


def test_the_first_of_several_wrong_files_is_named(store, members):
    del members['card.md'], members['network.onnx']
    with pytest.raises(BundleError, match=r"'card\.md' is missing"):
        open_bundle(store(members))


def test_the_first_of_several_unlisted_files_is_named(store, members):
    with pytest.raises(BundleError, match="does not list 'a.txt'"):
        open_bundle(store(members | {'b.txt': b'', 'a.txt': b''}))


def test_an_archive_may_expand_up_to_the_limit(tmp_path, manifest, files, monkeypatch):
    path = tmp_path / 'made.mnssd'
    write_bundle(path, manifest, files)
    total = sum(map(len, files.values()))
    size = path.stat().st_size
    for spare, is_refused in ((0, False), (-1, True)):
        allowance = total - storage.MAX_EXPANSION * size + spare
        monkeypatch.setattr(storage, 'EXPANSION_ALLOWANCE', allowance)
        if is_refused:
            with pytest.raises(BundleError, match=f'at most {total - 1} bytes in an archive'):
                open_bundle(path)
        else:
            open_bundle(path)


def test_limits():
    assert bundle_module.MAX_MANIFEST == 2**20
    assert storage.MAX_BYTES == 2**30
    assert (storage.MAX_MEMBERS, storage.MAX_DIRECTORY) == (256, 65536)
    assert (storage.MAX_EXPANSION, storage.EXPANSION_ALLOWANCE) == (8, 2**24)


def test_errors_of_the_system_are_explained(store, members, monkeypatch):
    def fail(path):
        raise OSError(5, 'Input/output error')

    path = store(members)
    monkeypatch.setattr(bundle_module, 'open_storage', fail)
    with pytest.raises(BundleError, match="made.mnssd': cannot be read: Input/output error$"):
        open_bundle(path)


def test_the_last_of_several_shipped_bundles_is_taken(tmp_path, monkeypatch):
    (tmp_path / 'assets').mkdir()
    for name in ('b-1.mnssd', 'a-2.mnssd', 'c.txt'):
        (tmp_path / 'assets' / name).touch()
    monkeypatch.setattr(bundle_module.resources, 'files', lambda package: tmp_path)
    assert shipped_bundle_path().name == 'b-1.mnssd'


def test_a_number_that_is_too_large_is_shown_in_part(store, members):
    members['manifest.json'] = b'[' + b'9' * 400 + b'.0]'
    with pytest.raises(BundleError, match='not JSON: 9{60} is too large a number'):
        open_bundle(store(members))
