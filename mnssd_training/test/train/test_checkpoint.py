"""Checkpoints are complete or missing, never damaged unnoticed."""

from collections.abc import Callable
from dataclasses import replace
import errno
import os
from pathlib import Path
import pickle
import random
import resource
import runpy
import shutil
import signal
import time
from typing import Any

import fsspec
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.errors import CheckpointError, DamagedCheckpointError
from mnssd_training.model import build_model
from mnssd_training.torch_file import dump_torch, load_torch
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
import pytest
import torch

CONFIG = ModelConfig(pyramid_channels=8, width_mult=0.25)


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    size = (32, 32)
    spec = ModelSpec(size, ('a', 'b'), (feature_map(size, 8, ((9.0, 9.0),)),))
    weights = build_model(spec, CONFIG).state_dict()
    training = {'model': weights, 'step': 7, 'best': 0.5}
    return Checkpoint(spec, CONFIG, {'name': 'tiny'}, weights, training, 7, {'map50': 0.5})


@pytest.fixture
def path(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    path = tmp_path / 'last.pt'
    save_checkpoint(path, checkpoint)
    return path


def test_checkpoint_round_trip(path: Path, checkpoint: Checkpoint) -> None:
    read = load_checkpoint(path)
    assert (read.spec, read.model_config) == (checkpoint.spec, checkpoint.model_config)
    assert (read.experiment, read.step, read.metrics) == ({'name': 'tiny'}, 7, {'map50': 0.5})
    assert read.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(read.weights[key], value) for key, value in checkpoint.weights.items())
    assert list(path.parent.iterdir()) == [path]


def test_network_is_built_from_the_checkpoint_alone(path: Path, checkpoint: Checkpoint) -> None:
    model = load_checkpoint(path).build()
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.weights[key])


@pytest.mark.parametrize('part', [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_file_is_damaged(path: Path, part: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DamagedCheckpointError, match=r'last\.pt: damaged: .*cut short'):
        load_checkpoint(path)


class Bomb:
    """Unpickled without care, it would leave a file behind."""

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)

    def __init__(self, place: Path) -> None:
        self.place = place


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'foreign.pt'
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        load_checkpoint(path)
    path.write_text('name: hit_uav\n')
    with pytest.raises(CheckpointError, match='not a file of torch'):
        load_checkpoint(path)
    content: Any
    for content in (torch.zeros(3), [1, 2], {'state_dict': {}}, {'schema': 1}, {'schema': None}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match='expected a checkpoint of schema 2') as caught:
            load_checkpoint(path)
        assert not isinstance(caught.value, DamagedCheckpointError)
    torch.save({'schema': 3}, path)
    with pytest.raises(CheckpointError, match='got 3; use the version of mnssd that wrote it'):
        load_checkpoint(path)


def test_unreadable_file_is_not_called_damaged(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match=r'cannot be read: Is a directory'):
        load_checkpoint(tmp_path)

    def fail(_: Path) -> bytes:
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(Path, 'read_bytes', fail)
    with pytest.raises(
        CheckpointError, match=r'last\.pt: cannot be read: Input/output error; nothing was changed'
    ) as caught:
        load_checkpoint(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_checkpoint_without_digest_is_read(path: Path, checkpoint: Checkpoint) -> None:
    content = load_torch(path.read_bytes(), path)
    torch.save(content, path)
    read = load_checkpoint(path)
    assert read.step == 7
    assert all(torch.equal(read.weights[key], value) for key, value in checkpoint.weights.items())


def test_random_damage_is_never_loaded(path: Path, checkpoint: Checkpoint) -> None:
    """A small version of ``damage_checkpoints.py``."""
    program = runpy.run_path(str(Path(__file__).with_name('damage_checkpoints.py')))
    counts = program['damage'](path, checkpoint, 60, random.Random(7))
    assert counts == {'refused': 60}
    torch.save(load_torch(path.read_bytes(), path), path)  # of an older version
    counts = program['damage'](path, checkpoint, 60, random.Random(7))
    assert counts['refused'] > 40
    assert set(counts) <= {'refused', 'loaded unaltered'}


def test_checkpoint_is_read_from_a_url(path: Path, checkpoint: Checkpoint) -> None:
    memory = fsspec.filesystem('memory')
    memory.pipe('/bucket/step.pt', path.read_bytes())
    memory.pipe('/bucket/cut.pt', path.read_bytes()[:5000])
    assert load_checkpoint('memory://bucket/step.pt').step == checkpoint.step
    with pytest.raises(CheckpointError, match=r'memory://bucket/cut\.pt: damaged'):
        load_checkpoint('memory://bucket/cut.pt')
    with pytest.raises(CheckpointError, match=r'memory://bucket/gone\.pt: no such'):
        load_checkpoint('memory://bucket/gone.pt')
    with pytest.raises(CheckpointError, match='carrier-pigeon'):
        load_checkpoint('carrier-pigeon://bucket/step.pt')


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    path, place = tmp_path / 'bomb.pt', tmp_path / 'exploded'
    path.write_bytes(pickle.dumps({'schema': 2, 'spec': Bomb(place)}))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    torch.save({'schema': 2, 'spec': Bomb(place)}, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert not place.exists()
    assert 'weights_only' not in str(caught.value)  # torch's advice is to switch the check off


def change_content(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = load_torch(path.read_bytes(), path)
    change(content)
    path.write_bytes(dump_torch(content))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda c: c.pop('weights'), "missing key 'weights'"),
        (lambda c: c.pop('prior_digest'), "missing key 'prior_digest'"),
        (lambda c: c.update(prior_digest='sha256:0'), 'its priors differ'),
        (lambda c: c.update(spec=None), 'expected an object at the top level, got None'),
        (lambda c: c['spec'].update(colour='red'), "unknown key 'colour'"),
        (lambda c: c['spec'].update(input_size=[32, -1]), 'expected sides of 1 to'),
        (lambda c: c['spec'].update(class_names=[]), 'expected at least one class'),
        (lambda c: c['model_config'].update(pyramid='giza'), r'model_config\.pyramid: '),
        (
            lambda c: c['model_config'].update(pyramid_channels=0),
            r'model_config\.pyramid_channels: ',
        ),
        (lambda c: c['model_config'].update(colour='red'), r'model_config\.colour: '),
    ],
)
def test_inconsistent_checkpoint_is_refused(
    path: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    change_content(path, change)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f'{path}: ')


def test_former_key_names_are_read(path: Path) -> None:
    def rename_back(content: dict[str, Any]) -> None:
        config = content['model_config']
        for name, former in (('pyramid_channels', 'channels'), ('width_mult', 'width')):
            config[former] = config.pop(name)
        content['experiment'] = {'training': {'accumulate': 2}}

    change_content(path, rename_back)
    checkpoint = load_checkpoint(path)
    assert checkpoint.model_config == CONFIG
    assert checkpoint.experiment == {'training': {'grad_accum_steps': 2}}


@pytest.mark.parametrize(
    'weights', [{}, None, [1], {'mean': torch.zeros(3)}], ids=['none', 'None', 'list', 'other']
)
def test_missing_weights_are_refused(checkpoint: Checkpoint, weights: Any) -> None:
    with pytest.raises(CheckpointError, match='the weights do not fit') as caught:
        replace(checkpoint, weights=weights).build()
    assert len(str(caught.value)) < 300
    assert '\n' not in str(caught.value)


def test_weights_of_another_width_are_refused(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, model_config=ModelConfig(pyramid_channels=16, width_mult=0.25))
    with pytest.raises(CheckpointError, match='the weights do not fit'):
        other.build()


def test_full_disk_keeps_the_old_file(
    path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(CheckpointError, match=r'last\.pt: cannot be written: .*space left'):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_missing_folder_is_an_error(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match='cannot be written'):
        save_checkpoint(tmp_path / 'nowhere' / 'last.pt', checkpoint)


def in_a_child(work: Callable[[], int]) -> int:
    """Run something in a forked process; return its process id."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return child


def test_real_full_disk_is_reported_and_keeps_the_old_file(
    tmp_path: Path, checkpoint: Checkpoint, small_disk: Callable[..., Any]
) -> None:
    def fill(folder: Path) -> None:
        path = folder / 'last.pt'
        save_checkpoint(path, checkpoint)
        before = path.read_bytes()
        (folder / 'other').write_bytes(bytes(shutil.disk_usage(folder).free - len(before) // 2))
        with pytest.raises(
            CheckpointError,
            match=r'last\.pt: cannot be written: No space left on device: the file needs '
            r'0\.\d\d MB, 0\.\d\d MB are free in .*; earlier checkpoints are intact',
        ):
            save_checkpoint(path, checkpoint)
        assert path.read_bytes() == before
        assert sorted(item.name for item in folder.iterdir()) == ['last.pt', 'other']

    small_disk(fill)


def test_file_size_limit_keeps_the_old_file(path: Path, checkpoint: Checkpoint) -> None:
    before = path.read_bytes()

    def fill() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            save_checkpoint(path, checkpoint)
        except CheckpointError as error:
            return 42 if 'cannot be written: File too large' in str(error) else 43
        return 0

    _, status = os.waitpid(in_a_child(fill), 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('delay', [0.01, 0.03, 0.05, 0.08, 0.13, 0.21])
def test_killed_process_leaves_a_complete_file(
    path: Path, checkpoint: Checkpoint, delay: float
) -> None:
    def save_for_ever() -> int:
        step = 100
        while True:
            save_checkpoint(path, replace(checkpoint, step=step))
            step += 1

    child = in_a_child(save_for_ever)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert load_checkpoint(path).step in {7, *range(100, 10_000)}
    save_checkpoint(path, checkpoint)  # what the other left behind is in nobody's way
    assert list(path.parent.iterdir()) == [path]
