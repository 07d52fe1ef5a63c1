"""Mutated experiment files load, or are refused in one line that names the file."""

from pathlib import Path
import random

from mnssd_training.config import load_experiment, shipped_experiments
from mnssd_training.config.compose import EXPERIMENTS
from mnssd_training.errors import ConfigError
import pytest

NUM_EACH = 25  # more are a matter of patience: each seed is another file
PIECES = (
    '', ' ', '\n', '\t', ':', '- ', '[', ']', '{', '}', '"', "'", '#', '&a', '*a', '!!python/x',
    '%', '${', '${GONE}', '${GONE:-7}', '0', '-1', '1e400', '.nan', '9' * 400, 'null', 'true',
    '~', '\0', '\ud7ff', '\U0001f600', '_base_: smoke\n', '_base_: own.yaml\n',
    'defaults: {model: own.yaml}\n', 'overrides:\n', '? a\n: b\n', '<<: *a\n', '---\n',
    'training:\n  epochs: 3\n',
)  # fmt: skip


def damaged(text: str, draw: random.Random) -> bytes:
    """Cut, repeat, shuffle and put odd things into a text."""
    for _ in range(draw.randint(1, 2)):
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.choice((0, 1, 3, 20)))
        lines = text.splitlines(keepends=True) or ['']
        kind = draw.randrange(5)
        if kind == 0:
            text = text[:start] + draw.choice(PIECES) + text[end:]
        elif kind == 1:
            text = text[:end] + text[start:]
        elif kind == 2:
            place = draw.randrange(len(lines))
            lines[place] = draw.choice(lines)
            text = ''.join(lines)
        elif kind == 3:
            words = text.split(' ')
            words[draw.randrange(len(words))] = draw.choice(PIECES)
            text = ' '.join(words)
        else:
            place = draw.randrange(len(lines))
            lines[place] = draw.choice(('  ', '')) + lines[place].lstrip()
            text = ''.join(lines)
    content = text.encode()
    if draw.random() < 0.1:
        place = draw.randrange(len(content) + 1)
        content = content[:place] + bytes([draw.randrange(256)]) + content[place:]
    return content


@pytest.mark.parametrize('name', shipped_experiments())
def test_mutated_files_load_or_are_refused(name: str, tmp_path: Path) -> None:
    text = (EXPERIMENTS / f'{name}.yaml').read_text()
    path = tmp_path / 'own.yaml'
    refused = 0
    for seed in range(NUM_EACH):
        path.write_bytes(damaged(text, random.Random(f'{name} {seed}')))
        try:
            load_experiment(path, (), {})
        except ConfigError as error:
            refused += 1
            assert '\n' not in str(error)
            assert str(path) in str(error) or 'yaml' in str(error)
    assert 0 < refused < NUM_EACH


@pytest.mark.parametrize('seed', range(3))
def test_mutated_overrides_load_or_are_refused(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(20):
        override = damaged('training.epochs=3', draw).decode(errors='surrogateescape')
        try:
            load_experiment('smoke', [override], {})
        except ConfigError as error:
            assert str(error).startswith('command line: ')
            assert '\n' not in str(error)
