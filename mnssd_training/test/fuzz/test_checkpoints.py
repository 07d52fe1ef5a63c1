"""Checkpoints of which any byte is damaged."""

from pathlib import Path
import pickle
from typing import Any
import zipfile

from fuzz_strategies import attempt, damaged_bytes, fuzz_settings, REFUSED
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.model import build_model
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
import pytest
import torch


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ModelSpec((32, 32), ('a', 'b'), (feature_map((32, 32), 8, ((9.0, 9.0),)),))
    config = ModelConfig(pyramid_channels=8, width_mult=0.25)
    weights = build_model(spec, config).state_dict()
    path = tmp_path_factory.mktemp('sound') / 'last.pt'
    training = {'model': weights, 'step': 7}
    save_checkpoint(path, Checkpoint(spec, config, {'name': 'a'}, weights, training, 7, {}))
    return path


def load(path: Path) -> Any:
    return attempt(lambda: load_checkpoint(path), [path.name])


def is_equal(loaded: Any, sound: Checkpoint) -> bool:
    return loaded.weights.keys() == sound.weights.keys() and all(
        torch.equal(loaded.weights[name], tensor) for name, tensor in sound.weights.items()
    )


def test_sound_checkpoint_is_accepted(sound: Path) -> None:
    checkpoint = load(sound)
    assert checkpoint is not REFUSED
    assert (checkpoint.step, checkpoint.experiment) == (7, {'name': 'a'})


@fuzz_settings()
@given(data=st.data())
def test_damaged_checkpoint_is_refused(tmp_path: Path, sound: Path, data: st.DataObject) -> None:
    path = tmp_path / 'damaged.pt'
    path.write_bytes(data.draw(damaged_bytes(sound.read_bytes())))
    assert load(path) is REFUSED


@fuzz_settings()
@given(bit=st.floats(0, 1, exclude_max=True))
def test_one_flipped_bit_is_refused(tmp_path: Path, sound: Path, bit: float) -> None:
    content = bytearray(sound.read_bytes())
    index = int(bit * 8 * len(content))
    content[index // 8] ^= 1 << index % 8
    path = tmp_path / 'damaged.pt'
    path.write_bytes(content)
    assert load(path) is REFUSED


@fuzz_settings()
@given(content=st.binary(max_size=300))
def test_other_bytes_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'other.pt'
    path.write_bytes(content)
    assert load(path) is REFUSED


def test_pickle_that_runs_a_program_is_refused(tmp_path: Path, sound: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / 'ran',)

    path = tmp_path / 'forged.pt'
    with zipfile.ZipFile(sound) as archive, zipfile.ZipFile(path, 'w') as forged:
        for member in archive.infolist():
            is_data = member.filename.endswith('data.pkl')
            content = pickle.dumps(Program()) if is_data else archive.read(member)
            forged.writestr(member.filename, content)
    assert load(path) is REFUSED
    assert not (tmp_path / 'ran').exists()
