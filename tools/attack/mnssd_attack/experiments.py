"""Experiments of which something was changed: a file, an override, the environment."""

import shutil
from typing import Any

from mnssd_training.config import Experiment, load_experiment
from mnssd_training.config.fingerprint import fingerprint
import numpy as np
import yaml

from mnssd_attack.datasets import write_files
from mnssd_attack.plain_data import change
from mnssd_attack.texts import spoil_text
from mnssd_attack.training_target import TrainingTarget
from mnssd_attack.words import naming

__all__ = ['attack_experiment', 'attack_override']

BASES: tuple[Any, ...] = (
    'experiment.yaml', './experiment.yaml', 'none.yaml', '.', '..', '/dev/null', '', None, 3,
    ['base.yaml', 'base.yaml'], '${UNSET}', '${UNSET:-base.yaml}', {'a': 1}, 'base.yaml\0',
    'x' * 5000, [['base.yaml']], [None], 'smoke', 'smok', '/dev/zero', [], True,
)  # fmt: skip
TEXTS = (
    b'', b'null', b'[]', b'text', b'7', b'---\n---\n', b'a: 1\n---\nb: 2\n', b'{', b'\xff\xfe',
    b'\xef\xbb\xbfexperiment: {id: a}', b'[' * 100_000, b'{a: ' * 5000, b'a:\n' * 10,
    b'a: &a [*a]', b'a: &a {b: *a}', b'<<: *a', b'? [a, b]\n: 1', b'!!binary aGk=',
    b'experiment: !!python/object/apply:os.getcwd []', b'experiment: !own {id: a}', b'\0', b'\t',
    b'experiment: {id: a}\nexperiment: {id: b}', b'a: {b: 1, b: 2}', b'%YAML 9.9\n--- a',
    b'a0: &a0 [x]\n' + b''.join(b'a%d: &a%d [%s]\n' % (i, i, b', '.join([b'*a%d' % (i - 1)] * 9))
                              for i in range(1, 12)),
    b'experiment: {id: ' + b'9' * 5000 + b'}', b'# ' + b'x' * 2_000_000, b'"\\ud800": 1',
    b'experiment:\n\tid: a', b'experiment: {id: "a\nb"}', b'1: 2\nnull: 3\ntrue: 4', b'a' * 99_999
)  # fmt: skip
SCALARS = (
    'null', '~', 'yes', 'true', '0', '-1', '1e9', '1e999', '.nan', '.inf', '-.inf', '0x10', '0o17',
    '1_000', '12:30', '2026-01-01', '[1, 2', '[]', '{}', '""', '"', "'", '{a: b}', '[[1]]', '&a',
    '*a', '!!float 1', '!x 1', '${UNSET}', '${SEED}', '${SEED', '${}', '$', '${A B}', '|', '>',
    '9' * 5000, 'x' * 100_000, '\0', '\ud800', '%', '@', '`', '- 1', ': ', '#', 'a: b: c', '1.0',
    '[' * 3_000, '${UNSET:-${SEED}}', '${UNSET:-7}', '\N{SNOWMAN}', 'imagenet', 'sgd', 'SGD',
)  # fmt: skip
SOURCES = (
    '',
    '.',
    '..',
    '/',
    'hit_uaw',
    'smoke',
    'smoke.yaml',
    '\0',
    'x' * 5000,
    '/dev/null',
    '~',
)
KEYS = (
    'training.epochs', 'trainig.epochs', 'training', 'training.epochs.x', 'data.more.0.root',
    'data.more.1.root', 'data.more.7.root', 'data.more.-1.root', 'data.more.x.root', 'input',
    'input.size.2', 'optimizer.lr', 'optimizer.name', 'experiment.id', 'matching.positive_iou', '',
    'loss.class_weights.car', 'loss.class_weights', 'data.rename.', '.', '_base_', 'defaults',
    'overrides.training', 'a.' * 500 + 'b', 'training .epochs', 'TRAINING.EPOCHS', '\0',
)  # fmt: skip


def attack_experiment(target: TrainingTarget, generator: np.random.Generator) -> None:
    """
    Load an experiment of which one of the files, or its name, is wrong.

    :param target: what is attacked.
    :param generator: of the change.
    """
    shutil.rmtree(target.place, ignore_errors=True)
    write_files(target.place, target.experiment)
    name = str(generator.choice(list(target.experiment)))
    victim = target.place / name
    source = str(target.place / 'experiment.yaml')
    way = generator.choice(
        ['change'] * 4 + ['text'] * 3 + ['whole', 'base', 'component', 'scalar', 'file', 'source']
    )
    if way == 'text':
        victim.write_bytes(spoil_text(target.experiment[name], generator))
    elif way == 'whole':
        victim.write_bytes(TEXTS[int(generator.integers(0, len(TEXTS)))])
    elif way == 'file':
        victim.unlink()
        kind = generator.choice(['none', 'folder', 'loop', 'endless'])
        if kind == 'folder':
            victim.mkdir()
        elif kind != 'none':
            victim.symlink_to('/dev/zero' if kind == 'endless' else victim)
    elif way == 'source':
        source = SOURCES[int(generator.integers(0, len(SOURCES)))]
    else:
        victim.write_text(_changed(target.experiment[name], str(way), generator))
    # A base may be anywhere, and where the schema speaks for itself only the key can be named.
    others = ['/dev/', '/etc/', 'smoke.yaml:', 'default: ', f'{source}: ']
    with naming([f'{target.place}/', *others]):
        _check(load_experiment(source, environment=_environment(target, generator)))


def attack_override(target: TrainingTarget, generator: np.random.Generator) -> None:
    """
    Load a sound experiment with wrong words on the command line.

    :param target: what is attacked.
    :param generator: of the words.
    """
    shutil.rmtree(target.place, ignore_errors=True)
    write_files(target.place, target.experiment)
    words = []
    for _ in range(int(generator.integers(1, 4))):
        key = KEYS[int(generator.integers(0, len(KEYS)))]
        value = SCALARS[int(generator.integers(0, len(SCALARS)))]
        words.append(f'{key}={value}' if generator.random() < 0.95 else key)
    with naming(['command line']):
        _check(
            load_experiment(
                target.place / 'experiment.yaml', words, environment=dict(target.environment)
            )
        )


def _changed(content: bytes, way: str, generator: np.random.Generator) -> str:
    """Change what a file means."""
    plain = yaml.safe_load(content)
    if way == 'base':
        plain['_base_'] = BASES[int(generator.integers(0, len(BASES)))]
    elif way == 'component':
        section = str(generator.choice(['optimizer', 'model', 'modle', 'data', 'overrides']))
        plain['defaults'] = {section: BASES[int(generator.integers(0, len(BASES)))]}
    elif way == 'scalar':
        text = content.decode()
        colon = int(generator.choice([at for at in range(len(text)) if text[at] == ':']))
        value = SCALARS[int(generator.integers(0, len(SCALARS)))]
        end = text.find('\n', colon)
        damaged = text[: colon + 1] + f' {value}' + text[end:]
        return damaged.encode(errors='replace').decode()
    else:
        for _ in range(int(generator.integers(1, 4))):
            change(plain, generator)
    return yaml.safe_dump(plain, sort_keys=False, width=1 << 30)


def _environment(target: TrainingTarget, generator: np.random.Generator) -> dict[str, str]:
    """Leave the environment as it should be, or not."""
    others = [{}, {'SEED': ''}, {'SEED': '-1'}, {'SEED': '${SEED}'}, {'SEED': '[1'}]
    if generator.random() < 0.8:
        return dict(target.environment)
    return others[int(generator.integers(0, len(others)))]


def _check(experiment: Experiment) -> None:
    """Hold an experiment against what it promises: it can be kept and told from others."""
    kept = Experiment.model_validate_json(experiment.model_dump_json())
    assert kept == experiment
    assert len(fingerprint(experiment)) == 12
