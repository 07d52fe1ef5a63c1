"""Checkpoints with a corrupt byte."""

from pathlib import Path
import pickle
from typing import Any
import zipfile

from fuzzing import corrupt_bytes, fuzz_settings, refusal
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.model import build_model
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
import pytest


@pytest.fixture(scope='module')
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ModelSpec((32, 32), ('a', 'b'), (feature_map((32, 32), 8, ((9.0, 9.0),)),))
    config = ModelConfig(pyramid_channels=8, width_mult=0.25)
    weights = build_model(spec, config).state_dict()
    path = tmp_path_factory.mktemp('valid') / 'last.pt'
    training = {'model': weights, 'step': 7}
    save_checkpoint(path, Checkpoint(spec, config, {'name': 'a'}, weights, training, 7, {}))
    return path


def load(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    assert (checkpoint.step, checkpoint.experiment) == (7, {'name': 'a'})


def refuses(path: Path) -> str:
    return refusal(load, path, names=[path.name])


def test_valid_checkpoint_is_accepted(valid: Path) -> None:
    assert not refuses(valid)


@fuzz_settings()
@given(data=st.data())
def test_corrupt_checkpoint_is_refused(tmp_path: Path, valid: Path, data: st.DataObject) -> None:
    path = tmp_path / 'corrupt.pt'
    path.write_bytes(data.draw(corrupt_bytes(valid.read_bytes())))
    assert refuses(path)


@fuzz_settings()
@given(bit=st.floats(0, 1, exclude_max=True))
def test_one_flipped_bit_is_refused(tmp_path: Path, valid: Path, bit: float) -> None:
    content = bytearray(valid.read_bytes())
    index = int(bit * 8 * len(content))
    content[index // 8] ^= 1 << index % 8
    path = tmp_path / 'corrupt.pt'
    path.write_bytes(content)
    assert refuses(path)


@fuzz_settings()
@given(content=st.binary(max_size=300))
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'other.pt'
    path.write_bytes(content)
    assert refuses(path)


def test_pickle_that_runs_code_is_refused(tmp_path: Path, valid: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / 'ran',)

    path = tmp_path / 'forged.pt'
    with zipfile.ZipFile(valid) as archive, zipfile.ZipFile(path, 'w') as forged:
        for member in archive.infolist():
            is_data = member.filename.endswith('data.pkl')
            content = pickle.dumps(Program()) if is_data else archive.read(member)
            forged.writestr(member.filename, content)
    assert refuses(path)
    assert not (tmp_path / 'ran').exists()
