"""Formatted experiments: all keys, who set them, and YAML that loads again."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import (
    find_origins,
    format_experiment,
    format_flow,
    load_experiment,
    shipped_experiments,
)
from mnssd_training.config.environment import expand_tree
from mnssd_training.config.yaml_tree import read_yaml, to_plain
import pytest


def formatted(source: str | Path, *overrides: str, **environment: str) -> str:
    return format_experiment(load_experiment(source, overrides, environment))


def origin_in(text: str, row: str) -> str:
    """Find the comment of a line."""
    (line,) = [line for line in text.splitlines() if line.split('#')[0].strip() == row]
    return line.partition('#')[2].strip()


@pytest.mark.parametrize('name', shipped_experiments())
def test_formatted_experiment_loads_as_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / 'again.yaml'
    path.write_text(formatted(name))
    assert load_experiment(path) == load_experiment(name, (), {})


def test_unusual_values_load_as_the_same(tmp_path: Path) -> None:
    overrides = [
        'data.classes=["no", "7", "a: b", "# x", "é\\t\\x07", "😀", "null", "~", "-", "a,b"]',
        'data.class_map={"7": "", "a b": "null", "${": "$${x}"}',
        'data.extra_sources=[{root: "x y"}, {root: b, class_map: {a: b}}]',
        'experiment.description="two\\nlines, $${NOT} # and \\"quotes\\""',
        'training.progressive_resizing=[[0, 0.5], [0.5, 1]]',
        'initial.checkpoint=s3://bucket/key=1/c.pt',
    ]
    path = tmp_path / 'again.yaml'
    path.write_text(formatted('smoke', *overrides), encoding='utf-8')
    again, before = load_experiment(path), load_experiment('smoke', overrides)
    assert again == before
    assert before.data.class_map['${'] == '${x}'


def test_origin_stands_beside_each_key(tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text(
        '_base_: smoke\ndata:\n  root: ${ROOT}\n  extra_sources:\n    - root: b\n'
        '      format: yolo\n'
        'defaults:\n  optimizer: optimizer/sgd.yaml\n'
    )
    text = formatted(path, 'training.epochs=4', 'input.size.1=96', ROOT='/data')
    assert origin_in(text, 'root: /data') == f'{path}:3, environment ROOT'
    assert origin_in(text, '- format: yolo') == f'{path}:6'
    assert origin_in(text, 'root: b') == f'{path}:5'
    assert origin_in(text, 'momentum: 0.9').startswith('optimizer/sgd.yaml:')
    assert origin_in(text, 'epochs: 4') == 'command line'
    assert origin_in(text, 'size: [160, 96]') == 'command line'
    assert origin_in(text, 'pyramid_channels: 48').startswith('smoke.yaml:')
    assert origin_in(text, 'seed: 1337') == 'default'


def test_origins_of_all_values() -> None:
    origins = find_origins(load_experiment('smoke', ['data.extra_sources=[{root: b}]']))
    assert origins['training.epochs'].startswith('smoke.yaml:')
    assert origins['data.extra_sources.0.root'] == 'command line'
    assert origins['data.extra_sources.0.format'] == 'default'
    assert origins['data.class_map'] == 'default'
    assert origins['matching.positive_iou'] == 'default'


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**15), 10**15),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=['Cs']), max_size=6),
        st.text('${}~-.e0 :#', max_size=6),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text('ab ${}#"', max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(plain)
def test_flow_style_loads_as_the_value(value: Any) -> None:
    text = format_flow(value)
    assert '\n' not in text
    plain = to_plain(expand_tree(read_yaml(text, 'file'), {}))
    assert plain == value
