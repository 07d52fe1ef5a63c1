"""Experiments with a corrupt file, an invalid override or an invalid variable."""

import json
from pathlib import Path
import shutil
from typing import Any

from fuzzing import corrupt_data, corrupt_text, fuzz_settings, read_files, refusal, write_files
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import Experiment, load_experiment
from mnssd_training.config.fingerprint import fingerprint
import pytest
import yaml

FILES = read_files(Path(__file__).with_name('corpus') / 'experiment')
ENVIRONMENT = {'SEED': '7'}
BASES = (
    'none.yaml', '.', '/dev/null', '', 3, '${UNSET}', {'a': 1},
    'base.yaml\0', 'x' * 5000, [['base.yaml']], 'smok', '/dev/zero', True, 'experiment.yaml',
)  # fmt: skip
TEXTS = (
    b'', b'null', b'[]', b'text', b'7', b'---\n---\n', b'{', b'\xff\xfe', b'[' * 100_000,
    b'a: &a [*a]', b'<<: *a', b'experiment: !!python/object/apply:os.getcwd []', b'\0', b'\t',
    b'experiment: {id: a}\nexperiment: {id: b}', b'experiment: {id: "a\nb"}', b'"\\ud800": 1',
    b'a0: &a0 [x]\n' + b''.join(b'a%d: &a%d [%s]\n' % (i, i, b', '.join([b'*a%d' % (i - 1)] * 9))
                              for i in range(1, 12)),
)  # fmt: skip
SCALARS = (
    'null', '~', 'yes', '0', '-1', '1e9', '1e999', '.nan', '-.inf', '0x10', '1_000', '12:30', '[]',
    '[1, 2', '{}', '""', '"', '{a: b}', '&a', '*a', '!x 1', '${UNSET}', '${SEED', '$', '|',
    '[[1]]', '9' * 5000, '\0', '%', '@', '- 1', ': ', 'a: b: c', '[' * 300, 'SGD', '\u2603',
)  # fmt: skip
# An unknown key or an invalid value each.
INVALID_OVERRIDES = (
    'trainig.epochs=3', 'training.epochs=many', 'training.epochs=-1', 'training.epochs.x=1',
    'input.size=[0, 640]', 'optimizer.name=sgdd', 'training=3', 'training.seed=.nan', '=3',
    'optimizer.learning_rate=-1', 'data.format=voc2', 'scheduler.name=[a]', 'training.epochs',
)  # fmt: skip
KEYS = (
    'training.epochs', 'training.seed', 'optimizer.learning_rate', 'optimizer.name', 'input.size',
    'data.root', 'data.class_map', 'data.classes', 'loss.class_weights', 'experiment.id',
)  # fmt: skip


def load(folder: Path, overrides: tuple[str, ...], environment: dict[str, str]) -> Experiment:
    """Load an experiment; assert that a run can store it and load it again."""
    path = folder / 'experiment.yaml'
    experiment = load_experiment(path, overrides, environment=environment)
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert len(fingerprint(experiment)) == 12
    return experiment


def load_valid(folder: Path) -> None:
    experiment = load(folder, (), ENVIRONMENT)
    assert (experiment.training.seed, experiment.training.epochs) == (7, 3)
    assert (experiment.optimizer.name, experiment.training.batch_size) == ('sgd', 8)


def refuses(folder: Path, *overrides: str, **environment: str) -> str:
    names = [f'{folder}/', 'command line', *map(str, BASES[:3]), '/dev/', 'default: ']
    return refusal(load, folder, overrides, ENVIRONMENT | environment, names=names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, FILES)
    return tmp_path


def test_valid_experiment_is_accepted(folder: Path) -> None:
    assert not refusal(load_valid, folder)


@fuzz_settings(3)
@given(data=st.data())
def test_corrupt_file_is_refused_or_a_valid_experiment(
    tmp_path: Path, data: st.DataObject
) -> None:
    files = dict(FILES)
    name = data.draw(st.sampled_from(sorted(files)))
    structure = corrupt_data(yaml.safe_load(files[name])).map(
        lambda content: json.dumps(content).encode()
    )
    text = corrupt_text(files[name])
    files[name] = data.draw(st.one_of([text, text, structure, structure, st.sampled_from(TEXTS)]))
    shutil.rmtree(tmp_path)
    write_files(tmp_path, files)
    refuses(tmp_path)


@pytest.mark.parametrize('base', BASES)
def test_invalid_base_is_refused(folder: Path, base: Any) -> None:
    content = yaml.safe_load(FILES['experiment.yaml']) | {'_base_': base}
    (folder / 'experiment.yaml').write_text(json.dumps(content))
    assert refuses(folder)


@pytest.mark.parametrize('override', INVALID_OVERRIDES)
def test_invalid_override_is_refused(folder: Path, override: str) -> None:
    assert refuses(folder, override)


@fuzz_settings(3)
@given(
    overrides=st.lists(
        st.builds('{}={}'.format, st.sampled_from(KEYS), st.sampled_from(SCALARS)),
        min_size=1,
        max_size=3,
    )
)
def test_any_override_is_refused_or_makes_a_valid_experiment(
    folder: Path, overrides: list[str]
) -> None:
    refuses(folder, *overrides)


@pytest.mark.parametrize('seed', ['', '-1', '${SEED}', '[1', 'x'])
def test_invalid_variable_is_refused(folder: Path, seed: str) -> None:
    assert refuses(folder, SEED=seed)
