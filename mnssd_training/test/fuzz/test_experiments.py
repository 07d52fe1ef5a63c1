"""Experiments of which a file, an override or the environment is wrong."""

import json
from pathlib import Path
import shutil
from typing import Any

from fuzz_strategies import (
    attempt,
    changed_data,
    damaged_text,
    fuzz_settings,
    REFUSED,
    write_files,
)
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import Experiment, load_experiment
from mnssd_training.config.fingerprint import fingerprint
import pytest
import yaml

FILES = {
    'experiment.yaml': b"""\
# An experiment on a base, with a component of its own.
_base_: [base.yaml]
defaults: {optimizer: optimizer.yaml}
experiment:
  id: fuzz_1
  name: "a $${plain} name"
data:
  root: ${DATA_ROOT:-data}/hit_uav
  class_map: {van: car, DontCare: ''}
input: {size: [160, 200]}
augmentation:
  large_scale_jitter_range: &range [0.6, 1.7]
overrides:
  training: {epochs: 3, seed: "${SEED}"}
""",
    'base.yaml': b"""\
experiment: {id: base}
data: {root: data/base, classes: [car, person]}
loss: {class_weights: {car: 2.0, person: 1e-1}}
training: {batch_size: 8, multi_scale: [0.75, 1.25]}
scheduler: {name: multistep, milestones: [0.5, 0.9]}
""",
    'optimizer.yaml': b'name: sgd\nlearning_rate: 1e-2\nmomentum: 0.9\n',
}
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
# The first is no key of any experiment, the second no value of its key.
WRONG_OVERRIDES = (
    'trainig.epochs=3', 'training.epochs=many', 'training.epochs=-1', 'training.epochs.x=1',
    'input.size=[0, 640]', 'optimizer.name=sgdd', 'training=3', 'training.seed=.nan', '=3',
    'optimizer.learning_rate=-1', 'data.format=voc2', 'scheduler.name=[a]', 'training.epochs',
)  # fmt: skip
KEYS = (
    'training.epochs', 'training.seed', 'optimizer.learning_rate', 'optimizer.name', 'input.size',
    'data.root', 'data.class_map', 'data.classes', 'loss.class_weights', 'experiment.id',
)  # fmt: skip


def load(folder: Path, overrides: tuple[str, ...] = (), **environment: str) -> Any:
    """Load an experiment; an error names a file or the command line."""
    names = [f'{folder}/', 'command line', *map(str, BASES[:3]), '/dev/', 'default: ']
    return attempt(
        lambda: load_experiment(
            folder / 'experiment.yaml', overrides, environment=ENVIRONMENT | environment
        ),
        names,
    )


def check(experiment: Experiment) -> None:
    """Hold an experiment against what a run relies on: it can be written and read again."""
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert len(fingerprint(experiment)) == 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, FILES)
    return tmp_path


def test_sound_experiment_is_accepted(folder: Path) -> None:
    experiment = load(folder)
    assert experiment is not REFUSED
    check(experiment)
    assert (experiment.training.seed, experiment.training.epochs) == (7, 3)
    assert (experiment.optimizer.name, experiment.training.batch_size) == ('sgd', 8)


@fuzz_settings(3)
@given(data=st.data())
def test_damaged_file_is_refused_or_makes_a_sound_experiment(
    tmp_path: Path, data: st.DataObject
) -> None:
    files = dict(FILES)
    name = data.draw(st.sampled_from(sorted(files)))
    structure = changed_data(yaml.safe_load(files[name])).map(
        lambda plain: json.dumps(plain).encode()
    )
    text = damaged_text(files[name])
    files[name] = data.draw(st.one_of([text, text, structure, structure, st.sampled_from(TEXTS)]))
    shutil.rmtree(tmp_path)
    write_files(tmp_path, files)
    experiment = load(tmp_path)
    if experiment is not REFUSED:
        check(experiment)


@pytest.mark.parametrize('base', BASES)
def test_wrong_base_is_refused(folder: Path, base: Any) -> None:
    plain = yaml.safe_load(FILES['experiment.yaml']) | {'_base_': base}
    (folder / 'experiment.yaml').write_text(json.dumps(plain))
    assert load(folder) is REFUSED


@pytest.mark.parametrize('override', WRONG_OVERRIDES)
def test_wrong_override_is_refused(folder: Path, override: str) -> None:
    assert load(folder, (override,)) is REFUSED


@fuzz_settings(3)
@given(
    words=st.lists(
        st.builds('{}={}'.format, st.sampled_from(KEYS), st.sampled_from(SCALARS)),
        min_size=1,
        max_size=3,
    )
)
def test_any_override_is_refused_or_makes_a_sound_experiment(
    folder: Path, words: list[str]
) -> None:
    experiment = load(folder, tuple(words))
    if experiment is not REFUSED:
        check(experiment)


@pytest.mark.parametrize('seed', ['', '-1', '${SEED}', '[1', 'x'])
def test_wrong_variable_is_refused(folder: Path, seed: str) -> None:
    assert load(folder, SEED=seed) is REFUSED
