"""Composition of experiments from files, components, the environment and the command line."""

from collections.abc import Callable
from pathlib import Path

from mnssd_training.config import Experiment, load_experiment
from mnssd_training.config.compose import compose
from mnssd_training.config.yaml_tree import find
from mnssd_training.errors import ConfigError
import pytest

Write = Callable[..., Path]

LEAST = 'experiment: {id: own}\ndata:\n  root: here\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below a folder of its own."""

    def write_file(content: str | bytes, name: str = 'own.yaml') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def test_minimal_file_uses_defaults(write: Write) -> None:
    experiment = load_experiment(write(LEAST))
    assert experiment.experiment.id == 'own'
    assert experiment.data.root == 'here'
    plain = Experiment.model_validate({'experiment': {'id': 'own'}, 'data': {'root': 'here'}})
    assert experiment == plain


def test_precedence_of_keys(write: Write) -> None:
    write('{epochs: 2, seed: 2, workers: 2, batch_size: 2}', 'training.yaml')
    write(
        LEAST + 'training: {epochs: 1, seed: 1, workers: 1, batch_size: 1, nodes: 9}', 'base.yaml'
    )
    path = write(
        '_base_: base.yaml\n'
        'defaults: {training: training.yaml}\n'
        'training: {seed: 3, workers: 3, batch_size: 3}\n'
        'overrides: {training: {workers: 4, batch_size: 4}}\n'
    )
    training = load_experiment(path, ['training.batch_size=5']).training
    assert (training.epochs, training.seed, training.workers, training.batch_size) == (2, 3, 4, 5)
    assert training.nodes == 1  # a component sets its section anew
    assert training.grad_accum_steps == 1


def test_bases_are_merged_in_order_and_depth_first(write: Write) -> None:
    write(LEAST + 'training: {epochs: 1, seed: 1, workers: 1}\ninput: {size: [1, 1]}\n', 'a.yaml')
    write('_base_: ../a.yaml\ntraining: {seed: 2, workers: 2}\n', 'deep/b.yaml')
    write('training: {workers: 3}\n', 'c.yaml')
    experiment = load_experiment(write('_base_: [deep/b.yaml, c.yaml]\n'))
    training = experiment.training
    assert (training.epochs, training.seed, training.workers) == (1, 2, 3)
    assert experiment.input.size == (1, 1)


def test_base_may_be_repeated(write: Write) -> None:
    write(LEAST, 'a.yaml')
    write('_base_: a.yaml\ninput: {size: [9, 9]}\n', 'b.yaml')
    assert load_experiment(write('_base_: [b.yaml, a.yaml]\n')).input.size == (9, 9)


def test_shipped_experiment_as_base(write: Write) -> None:
    experiment = load_experiment(write('_base_: smoke\nexperiment: {id: mine}\n'))
    assert experiment.experiment.id == 'mine'
    assert experiment.model.pyramid_channels == 48


def test_local_component_overrides_shipped_one(write: Write) -> None:
    path = write(LEAST + 'defaults: {optimizer: optimizer/sgd.yaml}\n')
    assert load_experiment(path).optimizer.momentum == 0.9
    write('{name: sgd, momentum: 0.5}', 'optimizer/sgd.yaml')
    assert load_experiment(path).optimizer.momentum == 0.5


def test_section_with_only_comments_is_absent(write: Write) -> None:
    content = '_base_:\ndefaults:\noverrides:\naugmentation:\n  # iou_crop: 0.0\n' + LEAST
    assert load_experiment(write(content)) == load_experiment(write(LEAST))


def test_environment_variables_are_inserted(write: Write) -> None:
    path = write(
        LEAST.replace('here', '${ROOT}') + 'training: {epochs: "${EPOCHS:-3}"}\n'
        '_base_: ${BASE:-smoke}\ninput: {size: ["${SIDE:-64}", 96]}\n'
    )
    experiment = load_experiment(path, ['data.extra_sources.0.root=${ROOT}/x'], {'ROOT': '2007'})
    assert (experiment.data.root, experiment.data.extra_sources[0].root) == ('2007', '2007/x')
    assert (experiment.training.epochs, experiment.input.size) == (3, (64, 96))
    # Only what counts in the end is looked up.
    assert load_experiment(path, ['data.root=a'], {}).data.root == 'a'
    with pytest.raises(ConfigError, match=r'own.yaml:3: data.root: .* variable ROOT is not set'):
        load_experiment(path, (), {})


def test_every_key_knows_its_origin(write: Write) -> None:
    write('# of mine\nmomentum: 0.8\n', 'mine.yaml')
    path = write('_base_: smoke\ndefaults: {optimizer: mine.yaml}\ntraining:\n  epochs: 2\n')
    tree = compose(path, ['training.seed=7'], {})

    def origin(key: str) -> str:
        return find(tree, key.split('.')).origin

    assert origin('training.epochs') == f'{path}:4'
    assert origin('training.seed') == 'command line'
    assert origin('training.workers').startswith('smoke.yaml:')
    assert origin('optimizer.momentum') == f'{path.parent / "mine.yaml"}:2'
    assert origin('optimizer.name') == 'default'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', "own.yaml: expected keys at the top level, got null"),
        (b'- a\n- b\n', 'own.yaml: expected keys at the top level, got ["a", "b"]'),
        (b'just words', 'own.yaml: expected keys at the top level, got "just words"'),
        (b'a: [\n', 'own.yaml:2: not YAML'),
        (b'\xff\xfe\xfa', 'own.yaml: not YAML: not text in UTF-8'),
        (b'\x7fELF\x00\x01', 'own.yaml: not YAML'),
        (b'#' * 100_001, 'own.yaml: expected at most 100000 bytes'),
        (b'_base_: {a: b}', 'own.yaml:1: _base_: expected a file or a list, got {"a": "b"}'),
        (b'_base_: [[a]]', '_base_: expected a file or a list, got ["a"]'),
        (b'_base_: gone.yaml', 'own.yaml:1: _base_: '),
        (b'_base_: smok', "no such experiment 'smok'; did you mean 'smoke'?"),
        (b'_base_: "\\0"', 'no such experiment'),
        (b'_base_: ${GONE}', 'own.yaml:1: _base_: the environment variable GONE is not set'),
        (b'_base_: own.yaml', '_base_ is circular: '),
        (b'_base_: .', 'is a directory'),
        (b'defaults: a', 'own.yaml:1: defaults: expected section: file, got "a"'),
        (b'defaults: {optimiser: a}', "no such section; did you mean 'optimizer'?"),
        (b'defaults: {optimizer: [a]}', 'defaults.optimizer: expected a file, got ["a"]'),
        (
            b'\ndefaults: {optimizer: optimizer/adam.yaml}',
            "own.yaml:2: defaults.optimizer: no such component 'optimizer/adam.yaml'; "
            "did you mean 'optimizer/adamw.yaml'?",
        ),
        (b'defaults: {training: own.yaml}', 'is circular'),
        (b'overrides: [a]', 'own.yaml:1: overrides: expected sections with their keys, got ["a"]'),
    ],
    ids=[
        'empty', 'list', 'words', 'open', 'bytes', 'binary', 'huge', 'base dict', 'base list',
        'base gone', 'base misspelt', 'base no name', 'base variable', 'base itself',
        'base folder', 'defaults words', 'defaults section', 'defaults list', 'defaults misspelt',
        'component itself', 'overrides list',
    ],
)  # fmt: skip
def test_invalid_files_are_refused(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment(write(content), (), {})
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_circular_bases_are_refused(write: Write) -> None:
    write('_base_: c.yaml', 'b.yaml')
    write('_base_: a.yaml', 'c.yaml')
    path = write('_base_: b.yaml', 'a.yaml')
    a, b, c = (str(path.parent / f'{name}.yaml') for name in 'abc')
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert f'is circular: {a} -> {b} -> {c} -> {a}' in str(caught.value)


def test_number_of_nested_bases_is_limited(write: Write) -> None:
    write(LEAST, '0.yaml')
    for number in range(1, 30):
        write(f'_base_: {number - 1}.yaml', f'{number}.yaml')
    assert load_experiment(write('_base_: 15.yaml')).data.root == 'here'
    with pytest.raises(ConfigError, match='expected at most 20 nested files'):
        load_experiment(write('_base_: 29.yaml'))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='is a directory'):
        load_experiment(tmp_path)
    for name in ('nowhere', 'smoke.yml', 'a\0b', 'x' * 5000, ''):
        with pytest.raises(ConfigError):
            load_experiment(name)
    with pytest.raises(ConfigError, match="no such experiment 'hit_uaf'; did you mean 'hit_uav'?"):
        load_experiment('hit_uaf')
