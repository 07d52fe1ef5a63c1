"""Shards and checkpoints at S3: the real client against a small server of its protocol."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import re
import threading
from typing import Any

from mnssd_training.config import DataConfig, ModelConfig
from mnssd_training.data import load_image, read_splits, Sample
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.model import MobileNetSsd
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
import numpy as np
import pytest
import torch

s3fs = pytest.importorskip('s3fs', reason='needs what training needs')

CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
MISSING = b'<Error><Code>NoSuchKey</Code><Message>there is none</Message></Error>'


class BucketHandler(BaseHTTPRequestHandler):
    """Answers HeadObject and GetObject, with byte ranges, from a folder of buckets."""

    folder: Path
    protocol_version = 'HTTP/1.1'

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        path = self.folder / self.path.partition('?')[0].lstrip('/')
        found, status = path.is_file(), 200
        content = path.read_bytes() if found else MISSING
        match = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        if match and found:
            start, end = int(match[1]), int(match[2] or len(content) - 1)
            content, status = content[start : end + 1], 206
        self.send_response(status if found else 404)
        self.send_header('Content-Length', str(len(content)))
        self.send_header('Last-Modified', 'Sat, 21 Nov 2026 12:00:00 GMT')
        self.send_header('ETag', '"0"')
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder as ``s3://bucket``."""
    folder = tmp_path / 's3' / 'bucket'
    folder.mkdir(parents=True)
    handler = type('Handler', (BucketHandler,), {'folder': folder.parent})
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'someone')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'secret')
    monkeypatch.setenv('AWS_CONFIG_FILE', str(tmp_path / 'none'))
    monkeypatch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    s3fs.S3FileSystem.clear_instance_cache()
    yield folder
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def config(root: str, cache: str = '') -> DataConfig:
    return DataConfig(format='shards', root=root, val_split='', cache_dir=cache)


def test_an_empty_bucket_is_refused_in_words(bucket: Path) -> None:
    with pytest.raises(DatasetError, match=r's3://bucket/train\.index\.json: no such file'):
        read_splits(config('s3://bucket'))
    with pytest.raises(CheckpointError, match=r's3://bucket/best\.pt: no such file'):
        load_checkpoint('s3://bucket/best.pt')


@pytest.mark.parametrize('kept', [False, True], ids=['by range', 'kept'])
def test_shards_are_read_as_from_a_folder(
    bucket: Path, tmp_path: Path, train_samples: list[Sample], kept: bool
) -> None:
    write_shards(train_samples, CLASSES, bucket / 'set', 'train', ShardLimit(images=2))
    cache = str(tmp_path / 'cache') if kept else ''
    remote = read_splits(config('s3://bucket/set', cache)).train
    local = read_splits(config(str(bucket / 'set'))).train
    assert len(remote) == len(train_samples)
    for one, other in zip(remote, local):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(load_image(one), load_image(other))
    assert bool(list(tmp_path.glob('cache/*.tar'))) is kept


def test_a_checkpoint_is_loaded(bucket: Path, model: MobileNetSsd) -> None:
    weights = model.state_dict()
    saved = Checkpoint(model.spec, ModelConfig(pyramid_channels=32), {}, weights, {}, 7, {})
    (bucket / 'runs').mkdir()
    save_checkpoint(bucket / 'runs' / 'step-00000007.pt', saved)
    loaded = load_checkpoint('s3://bucket/runs/step-00000007.pt')
    assert loaded.step == 7
    assert all(torch.equal(loaded.weights[name], weights[name]) for name in weights)
