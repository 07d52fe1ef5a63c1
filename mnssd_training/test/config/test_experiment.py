"""Experiment files and overrides: typed, and wrong ones named."""

from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
import subprocess
import sys
from typing import Any

from mnssd_perception.plain import from_plain, to_plain
from mnssd_training.config import Experiment, load_experiment, shipped_experiments
from mnssd_training.errors import ConfigError
import pytest


@pytest.mark.parametrize('name', shipped_experiments())
def test_shipped_experiments_are_valid(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert from_plain(Experiment, to_plain(experiment), ConfigError) == experiment


def test_there_are_shipped_experiments() -> None:
    assert {'hit_uav', 'smoke'} <= set(shipped_experiments())


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text('name: own\ndata: {root: somewhere}\ntraining:\n  learning_rate: 2e-3\n')
    experiment = load_experiment(path)
    assert (experiment.name, experiment.data.root) == ('own', 'somewhere')
    assert experiment.training.learning_rate == 0.002
    assert experiment.training.epochs == 50


@pytest.mark.parametrize(
    ('override', 'read'),
    [
        ('training.epochs=3', lambda e: e.training.epochs == 3),
        ('training.learning_rate=1e-3', lambda e: e.training.learning_rate == 0.001),
        ('training.learning_rate=2', lambda e: e.training.learning_rate == 2.0),
        ('input.size=[100, 200]', lambda e: e.input.size == (100, 200)),
        ('data.root=a=b', lambda e: e.data.root == 'a=b'),
        ('name=1e3x', lambda e: e.name == '1e3x'),
        ('backbone_weights=imagenet', lambda e: e.backbone_weights == 'imagenet'),
        ('backbone_weights=""', lambda e: not e.backbone_weights),
        ('augmentation.crop_ious=[0, 1]', lambda e: e.augmentation.crop_ious == (0.0, 1.0)),
    ],
)
def test_overrides(override: str, read: Callable[[Experiment], bool]) -> None:
    assert read(load_experiment('smoke', [override]))


def test_the_last_override_wins_and_the_file_is_not_changed() -> None:
    changed = load_experiment('smoke', ['training.epochs=3', 'training.epochs=4'])
    assert changed.training.epochs == 4
    assert load_experiment('smoke').training.epochs == 1


@pytest.mark.parametrize(
    ('override', 'words'),
    [
        ('epochs', "expected key.path=value, got 'epochs'"),
        ('=3', 'expected key.path=value'),
        ('training.epoch=3', "unknown key 'epoch' at training; known are epochs, batch_size"),
        ('trainning.epochs=3', "unknown key 'trainning' at the top level"),
        ('training.epochs.more=3', 'training.epochs.more: there is no such key'),
        ('name.more.and.more=3', 'there is no such key'),
        ('training.epochs=many', "expected int at training.epochs, got 'many'"),
        ('training.epochs=3.5', 'expected int at training.epochs, got 3.5'),
        ('training.epochs=true', 'expected int at training.epochs, got True'),
        ('training.epochs=', 'expected int at training.epochs, got None'),
        ('training.epochs=[', 'training.epochs: not a YAML value'),
        ('name=2024-99-99', 'name: not a YAML value'),
        ('training=3', 'expected an object at training, got 3'),
        ('training.epochs=0', 'training.epochs: expected at least 1, got 0'),
        ('training.workers=-1', 'training.workers: expected at least 0'),
        ('training.save_every=-1', 'training.save_every: expected at least 0'),
        ('training.learning_rate=0', 'training.learning_rate: expected more than 0'),
        ('training.learning_rate=.nan', 'training.learning_rate: expected more than 0'),
        ('training.weight_decay=-1', 'training.weight_decay: expected at least 0'),
        ('training.ema_decay=1', 'training.ema_decay: expected at least 0 and less than 1'),
        ('training.precision=fp8', 'expected one of .* at training.precision'),
        ('input.size=[100]', 'expected 2 values at input.size, got 1'),
        ('input.size=300', 'expected a list at input.size'),
        ('input.resize=crop', 'expected one of .* at input.resize'),
        ('priors.a_cell=[1, 2]', 'priors.a_cell: expected a number for each of the strides'),
        ('priors.strides=[8, 16, 0]', 'priors.strides: expected at least 1'),
        ('priors.a_cell=[1, 0, 1]', 'priors.a_cell: expected at least 1'),
        ('model.channels=0', 'model.channels: expected at least 1'),
        ('loss.beta=-1', 'loss.beta: expected at least 0'),
        ('augmentation.crop_ious=[0.5]', 'augmentation.crop_ious: expected one of at least 1'),
    ],
)
def test_wrong_overrides_are_named(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_experiment('smoke', [override])
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'expected an object at the top level, got None'),
        (b'- a\n- b\n', 'expected an object at the top level'),
        (b'just words', 'expected an object at the top level'),
        (b'name: x\n', "missing key 'data'"),
        (b'name: x\ndata: {}\n', "missing key 'data.root'"),
        (b'name: [\n', 'not a YAML file'),
        (b'\xff\xfe\xfa', 'not a YAML file'),
        (b'name: 2024-99-99\n', 'not a YAML file'),
        (b'name: !!python/object/apply:os.getcwd []\n', 'not a YAML file'),
        (b'name: x\ndata: {root: a}\n7: seven\n', "unknown key '7'"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / 'wrong.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(str(path))


def test_an_override_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / 'empty.yaml'
    path.write_text('')
    with pytest.raises(ConfigError, match='there is no such key'):
        load_experiment(path, ['name=x'])


def test_an_experiment_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match='nowhere: no such experiment; shipped are hit_uav, smoke'
    ):
        load_experiment('nowhere')


def test_a_folder_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_experiment(tmp_path)


def test_every_key_has_its_line_of_documentation() -> None:
    def check(value: Any) -> None:
        for name in value.__dataclass_fields__:
            assert f':ivar {name}:' in (type(value).__doc__ or ''), (
                f'{type(value).__name__}.{name}'
            )
            if is_dataclass(inner := getattr(value, name)):
                check(inner)

    check(load_experiment('smoke'))


def test_experiments_are_installed_with_the_package() -> None:
    """What setup.py declares is what the code looks for."""
    root = Path(__file__).parents[2]
    script = (
        'import setuptools, runpy\n'
        'setuptools.setup = lambda **k: print(k["package_data"])\n'
        'runpy.run_path("setup.py")'
    )
    told = subprocess.run(
        [sys.executable, '-c', script], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert 'config/experiments/*.yaml' in told
