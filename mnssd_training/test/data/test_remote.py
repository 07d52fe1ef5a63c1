"""Shards on a web server and in memory, streamed and cached."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
import multiprocessing
from pathlib import Path
import re
import shutil
import threading
from typing import Any

import fsspec
from mnssd_training.config import DataConfig
from mnssd_training.data import load_image, read_splits, remote, Sample
from mnssd_training.data.remote import is_remote, read_entry, read_url, Shard, ShardEntry
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.data.shards import read_shards
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves byte ranges, as web servers do; counts requests and fails where it is told to."""

    requests: list[str]
    failures: list[int]
    ranges = True

    def do_GET(self) -> None:
        self.requests.append(f'{self.path} {self.headers.get("Range", "")}'.strip())
        if self.failures:
            self.send_error(self.failures.pop())
            return
        path = Path(self.translate_path(self.path))
        match = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
        if not path.is_file():
            self.send_error(404)
            return
        content, status = path.read_bytes(), 200
        if match and self.ranges:
            content, status = content[int(match[1]) : int(match[2]) + 1], 206
        self.send_response(status)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


class Web:
    """A web server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handler = type('Handler', (RangeHandler,), {'requests': [], 'failures': []})
        self._server = ThreadingHTTPServer(
            ('127.0.0.1', 0), partial(self.handler, directory=str(folder))
        )
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope='session')
def shards(
    tmp_path_factory: pytest.TempPathFactory,
    train_samples: list[Sample],
    val_samples: list[Sample],
) -> Path:
    folder = tmp_path_factory.mktemp('shards')
    write_shards(train_samples, CLASSES, folder, 'train', ShardLimit(images=2))
    write_shards(val_samples, CLASSES, folder, 'val', ShardLimit(images=2))
    return folder


@pytest.fixture
def web(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    pytest.importorskip('aiohttp')
    monkeypatch.setattr(remote, 'FIRST_WAIT', 0.01)
    server = Web(Path(shutil.copytree(shards, tmp_path / 'served')))
    yield server
    server.close()


def entry_of(sample: Sample) -> ShardEntry:
    assert isinstance(sample.path, ShardEntry)
    return sample.path


def same(one: Sample, other: Sample) -> None:
    assert (one.name, one.size) == (other.name, other.size)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(load_image(one), load_image(other))


def test_empty_byte_range(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'abc')
    assert read_url(str(tmp_path / 'file'), 1, 1) == b''
    assert read_url(f'file://{tmp_path}/file', 1, 9) == b'bc'
    assert read_url(str(tmp_path / 'file')) == b'abc'


@pytest.mark.parametrize(
    ('url', 'answer'),
    [('/a/b', False), ('a', False), ('file:///a', False), ('s3://b/c', True), ('http://x', True)],
)
def test_is_remote(url: str, answer: bool) -> None:
    assert is_remote(url) is answer


@pytest.mark.parametrize('name', ['nowhere', 'nul\0', 'x' * 300, '.'])
def test_unreadable_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match='no such file|cannot be read'):
        read_url(f'{tmp_path}/{name}')


def test_memory_filesystem(shards: Path, val_samples: list[Sample]) -> None:
    fsspec.filesystem('memory').put(f'{shards}/', '/mnssd_test/', recursive=True)
    for one, other in zip(read_shards('memory://mnssd_test', 'val').samples, val_samples):
        same(one, other)


def test_streaming_requests_only_byte_ranges(web: Web, val_samples: list[Sample]) -> None:
    samples = read_shards(web.url, 'val').samples
    assert web.handler.requests == ['/val.index.json']
    for one, other in zip(reversed(samples), reversed(val_samples)):
        same(one, other)
    entries = [entry_of(sample) for sample in reversed(samples)]
    assert web.handler.requests[1:] == [
        f'{entry.shard.url.removeprefix(web.url)} '
        f'bytes={entry.offset}-{entry.offset + entry.length - 1}'
        for entry in entries
    ]


def test_read_splits_from_a_server(web: Web, hit_uav: Path) -> None:
    streamed = read_splits(DataConfig(root=web.url, format='shards'))
    local = read_splits(DataConfig(root=str(hit_uav)))
    assert streamed.class_names == local.class_names
    for one, other in zip(streamed.train + streamed.val, local.train + local.val, strict=True):
        same(one, other)


@pytest.mark.parametrize('kept', [False, True], ids=['streamed', 'kept'])
def test_forked_workers_can_read(web: Web, tmp_path: Path, kept: bool) -> None:
    samples = read_shards(web.url, 'val', str(tmp_path / 'cache') if kept else '').samples
    load_image(samples[0])
    with multiprocessing.get_context('fork').Pool(2) as pool:
        images = pool.map(load_image, samples, 1)
    for image, sample in zip(images, samples, strict=True):
        np.testing.assert_array_equal(image, load_image(sample))


def test_cache_downloads_each_shard_once(
    web: Web, val_samples: list[Sample], tmp_path: Path
) -> None:
    cache = tmp_path / 'a' / 'cache'
    samples = read_shards(web.url, 'val', str(cache)).samples
    for one, other in zip(samples, val_samples):
        same(one, other)
    assert web.handler.requests[1:] == ['/val-000000.tar', '/val-000001.tar']
    kept = {entry_of(sample).shard.sha256 for sample in samples}
    assert {path.name for path in cache.glob('*.tar')} == {f'{digest}.tar' for digest in kept}
    (web.folder / 'val-000000.tar').unlink()
    same(samples[0], val_samples[0])
    assert not list(cache.glob('.fetch-*'))


def test_corrupt_download_is_not_cached(web: Web, tmp_path: Path) -> None:
    samples = read_shards(web.url, 'val', str(tmp_path / 'cache')).samples
    tar = web.folder / 'val-000000.tar'
    content = tar.read_bytes()
    tar.write_bytes(content[:-512])
    with pytest.raises(DatasetError, match=r'val-000000\.tar: expected \d+ bytes, got \d+: cut'):
        load_image(samples[0])
    tar.write_bytes(content[:-1] + b'x')
    with pytest.raises(DatasetError, match=r'expected SHA-256 [0-9a-f]{12}\.\.\., got'):
        load_image(samples[0])
    assert not list((tmp_path / 'cache').glob('*.tar'))
    tar.write_bytes(content)
    assert load_image(samples[0]).shape == (512, 640, 3)


def test_unwritable_cache_is_reported(web: Web, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    samples = read_shards(web.url, 'val', str(tmp_path / 'file')).samples
    with pytest.raises(DatasetError, match='file: cannot keep shards: File exists'):
        load_image(samples[0])


def test_transient_error_is_retried(web: Web) -> None:
    web.handler.failures += [503, 500]
    assert len(read_shards(web.url, 'val').samples) == 4
    assert len(web.handler.requests) == 3
    web.handler.failures += [503] * 3
    with pytest.raises(DatasetError, match=r'val\.index\.json: cannot be read: .*503'):
        read_shards(web.url, 'val')
    assert len(web.handler.requests) == 6


def test_missing_file_is_not_retried(web: Web) -> None:
    with pytest.raises(DatasetError, match=r'test\.index\.json: no such file'):
        read_shards(web.url, 'test')
    assert len(web.handler.requests) == 2  # for its size and for its content
    samples = read_shards(web.url, 'val').samples
    (web.folder / 'val-000000.tar').unlink()
    with pytest.raises(DatasetError, match=r'val-000000\.tar: no such file'):
        load_image(samples[0])


def test_truncated_shard_is_reported(web: Web) -> None:
    samples = read_shards(web.url, 'val').samples
    entry = entry_of(samples[1])
    tar = web.folder / 'val-000000.tar'
    tar.write_bytes(tar.read_bytes()[: entry.offset + 7])
    with pytest.raises(DatasetError, match=r'expected \d+ bytes, got 7: cut short'):
        load_image(samples[1])


def test_oversized_shard_is_not_downloaded(web: Web, tmp_path: Path) -> None:
    samples = read_shards(web.url, 'val', str(tmp_path / 'cache')).samples
    tar = web.folder / 'val-000000.tar'
    tar.write_bytes(tar.read_bytes() + b'\0')
    with pytest.raises(DatasetError, match=r'expected at most \d+ bytes, got'):
        load_image(samples[0])
    assert not any('.tar' in request for request in web.handler.requests)


def test_server_without_range_requests_is_reported(
    web: Web, tmp_path: Path, val_samples: list[Sample]
) -> None:
    web.handler.ranges = False
    with pytest.raises(
        DatasetError, match=r'sends the whole file .*; set data\.cache_dir to a folder'
    ):
        load_image(read_shards(web.url, 'val').samples[0])
    same(read_shards(web.url, 'val', str(tmp_path / 'cache')).samples[0], val_samples[0])


def test_unreachable_server_is_reported(web: Web) -> None:
    web.close()
    with pytest.raises(DatasetError, match=r'val\.index\.json: cannot be read: \w*Connect'):
        read_shards(web.url, 'val')


@pytest.mark.parametrize(
    ('url', 'words'),
    [('nothing://x/y', 'cannot be read: .*nothing'), ('http://', 'cannot be read')],
)
def test_invalid_addresses_are_refused(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, 'FIRST_WAIT', 0.01)
    with pytest.raises(DatasetError, match=words):
        read_url(url)


def test_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError('Install s3fs to access S3')

    monkeypatch.setattr(fsspec.core, 'url_to_fs', missing)
    entry = ShardEntry(Shard('s3://bucket/a.tar', 10, '0' * 64), 'a.jpg', 0, 5, 0)
    with pytest.raises(DatasetError, match=r's3://bucket/a\.tar: cannot be read: Install s3fs'):
        read_entry(entry)


def test_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    s3fs = pytest.importorskip('s3fs')
    monkeypatch.setattr(remote, 'FIRST_WAIT', 0.01)
    for key in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE'):
        monkeypatch.delenv(key, raising=False)
    for key in ('AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'):
        monkeypatch.setenv(key, str(tmp_path / 'none'))
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DatasetError, match=r's3://b/val\.index\.json: .*Unable to locate cred'):
        read_shards('s3://b', 'val')
    s3fs.S3FileSystem.clear_instance_cache()
