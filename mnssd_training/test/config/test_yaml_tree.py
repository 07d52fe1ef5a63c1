"""YAML documents as trees of nodes: scalars, line numbers, refused documents, merging."""

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config.yaml_tree import (
    find,
    from_plain,
    merge,
    Node,
    read_yaml,
    to_plain,
    to_scalar,
)
from mnssd_training.errors import ConfigError
import pytest

DEEP = '[' * 500 + ']' * 500
LAUGHS = 'a: &a [x, x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{name}: &{name} [{", ".join(f"*{before}" for _ in range(10))}]\n'
    for before, name in zip('abcdefgh', 'bcdefghi')
)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('', None),
        ('~', None),
        ('null', None),
        ('true', True),
        ('False', False),
        ('yes', 'yes'),
        ('no', 'no'),
        ('on', 'on'),
        ('7', 7),
        ('-7', -7),
        ('+7', 7),
        ('010', 10),
        ('0x10', '0x10'),
        ('1_000', '1_000'),
        ('12:30:45', '12:30:45'),
        ('2024-99-99', '2024-99-99'),
        ('1e-3', 0.001),
        ('1.', 1.0),
        ('.5', 0.5),
        ('-2.5E+3', -2500.0),
        ('.inf', float('inf')),
        ('-.inf', float('-inf')),
        ('e5', 'e5'),
        ('.', '.'),
        ('1e', '1e'),
        ('9' * 18, 10**18 - 1),
        ('9' * 19, '9' * 19),
        ('9' * 5000, '9' * 5000),
        ('7\n', '7\n'),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_scalars(text: str, value: Any) -> None:
    scalar = to_scalar(text)
    assert scalar == value
    assert type(scalar) is type(value)


def test_not_a_number() -> None:
    scalar = to_scalar('.nan')
    assert isinstance(scalar, float)
    assert math.isnan(scalar)


def test_an_empty_document_is_null() -> None:
    for text in ('', '\n', '# only words\n', '---\n'):
        assert read_yaml(text, 'file').value is None


def test_keys_know_their_lines() -> None:
    tree = read_yaml('a: 1\nb:\n  c: "2"\n  d:\n    - 3\n    - e: 4\n', 'own.yaml')
    assert to_plain(tree) == {'a': 1, 'b': {'c': '2', 'd': [3, {'e': 4}]}}
    lines = {(): 1, ('a',): 1, ('b',): 2, ('b', 'c'): 3, ('b', 'd', 0): 5, ('b', 'd', 1, 'e'): 6}
    for path, line in lines.items():
        assert find(tree, path).origin == f'own.yaml:{line}'


def test_unquoted_text_is_kept() -> None:
    tree = read_yaml('a: 007\nb: "007"\nc:\n', 'file')
    assert [find(tree, (key,)).text for key in 'abc'] == ['007', None, '']


def test_keys_are_strings() -> None:
    assert to_plain(read_yaml('{7: a, true: b, null: c, 1.5: d}', 'file')) == {
        '7': 'a', 'true': 'b', 'null': 'c', '1.5': 'd',
    }  # fmt: skip


def test_aliases_are_resolved() -> None:
    assert to_plain(read_yaml('a: &x [1]\nb: *x\n', 'file')) == {'a': [1], 'b': [1]}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: [\n', 'own.yaml:2: not YAML: '),
        ('a: b: c\n', 'own.yaml:1: not YAML: mapping values are not allowed here'),
        ('a: *x\n', 'own.yaml:1: not YAML: found undefined alias'),
        ('a: 1\n---\nb: 2\n', 'own.yaml:2: not YAML: but found another document'),
        ('a: \x00\n', 'own.yaml: not YAML: '),
        ('\ta: 1\n', 'own.yaml:1: not YAML: '),
        ('a: "\\ud800"\n', 'own.yaml:1: a: expected text in UTF-8'),
        ('a:\n  b: 1\n  c: 2\n  b: 3\n', 'own.yaml:4: a.b: duplicate key, first at'),
        ('? [a, b]\n: c\n', 'own.yaml:1: expected a string as key, got a list or a mapping'),
        ('a:\n  ? {b: c}\n  : d\n', 'own.yaml:2: a: expected a string as key'),
        ('a:\n  b: !!python/object/apply:os.getcwd []\n', "own.yaml:2: a.b: expected plain data"),
        ('a: !!python/name:os.system x\n', "without tags, got '!!python/name:os.system'"),
        ('a: !!int "3"\n', "got '!!int'"),
        ('a: !mine 3\n', "got '!mine'"),
        ('!mine a: 3\n', "got '!mine'"),
        ('a: &x\n  b: *x\n', 'own.yaml:2: a.b: this alias contains itself'),
        ('&x [1, *x]\n', 'this alias contains itself'),
        (LAUGHS, 'expected at most 10000 values in a file'),
        ('a: ' + '[' * 30 + ']' * 30, 'expected at most 20 nested keys'),
        (DEEP, 'expected at most 20 nested keys'),
        ('%YAML 7.0\n---\na: 1\n', 'not YAML'),
    ],
    ids=[
        'open list', 'two colons', 'unknown alias', 'two documents', 'control character', 'tab',
        'half a surrogate', 'twice', 'list as key', 'dict as key', 'object', 'function', 'tag',
        'own tag', 'tag on a key', 'endless', 'endless list', 'laughs', 'deep', 'very deep',
        'version',
    ],
)  # fmt: skip
def test_invalid_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, 'own.yaml')
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_yaml(text, 'file')
    except ConfigError as error:
        assert str(error).startswith('file')


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**17) + 1, 10**18 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text('abc é"\\\n\t-#:{}[],&*!|>%@`\'', max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text('ab -#:"\n', max_size=4), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(json_values)
def test_json_reads_as_itself(value: Any) -> None:
    assert to_plain(read_yaml(json.dumps(value, ensure_ascii=False), 'file')) == value


# --- trees -----------------------------------------------------------------------------------


names = st.text('ab', min_size=1, max_size=2)
plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), names),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
plain_dicts = st.dictionaries(names, plain_values, max_size=3)


def merged(below: object, above: object) -> object:
    return to_plain(merge(from_plain(below, 'below'), from_plain(above, 'above')))


@pytest.mark.parametrize(
    ('below', 'above', 'expected'),
    [
        ({}, {}, {}),
        ({}, {'a': 1}, {'a': 1}),
        ({'a': 1}, {}, {'a': 1}),
        ({'a': 1, 'b': 2}, {'b': 3}, {'a': 1, 'b': 3}),
        ({'a': {'b': 1, 'c': 2}}, {'a': {'c': 3}}, {'a': {'b': 1, 'c': 3}}),
        ({'a': [1, 2, 3]}, {'a': [4]}, {'a': [4]}),
        ({'a': {'b': 1}}, {'a': None}, {'a': None}),
        ({'a': 1}, {'a': {'b': 1}}, {'a': {'b': 1}}),
    ],
    ids=['empty', 'below', 'above', 'replaced', 'deep', 'list', 'null', 'dict'],
)
def test_merge(below: object, above: object, expected: object) -> None:
    assert merged(below, above) == expected


@settings(max_examples=40, deadline=None)
@given(plain_dicts, plain_dicts)
def test_merge_is_idempotent_and_has_a_neutral_element(low: object, high: object) -> None:
    assert merged(low, {}) == low
    assert merged({}, low) == low
    assert merged(low, low) == low
    assert merged(merged(low, high), high) == merged(low, high)


def test_merged_keys_keep_their_origin() -> None:
    tree = merge(from_plain({'a': {'b': 1, 'c': 2}}, 'low'), from_plain({'a': {'c': 3}}, 'high'))
    assert find(tree, ('a', 'b')).origin == 'low'
    assert find(tree, ('a', 'c')).origin == 'high'


def test_find_follows_a_path_as_far_as_it_exists() -> None:
    tree = Node({'a': Node((Node(1, 'inner'),), 'list')}, 'root')
    assert find(tree, ()).origin == 'root'
    assert find(tree, ('a', 0)).origin == 'inner'
    assert find(tree, ('a', 7, 'x')).origin == 'list'
    assert find(tree, ('x',)).origin == 'root'


@pytest.mark.parametrize(
    ('override', 'expected'),
    [
        ({'new': 9}, {'a': {'b': [1, {'c': 2}]}, 'new': 9}),
        ({'a': {'b': {'0': 9}}}, {'a': {'b': [9, {'c': 2}]}}),
        ({'a': {'b': {'1': {'c': 9}}}}, {'a': {'b': [1, {'c': 9}]}}),
        ({'a': {'b': {'2': 9}}}, {'a': {'b': [1, {'c': 2}, 9]}}),
        ({'a': {'b': {'2': {'d': 9}, '3': 8}}}, {'a': {'b': [1, {'c': 2}, {'d': 9}, 8]}}),
        ({'a': {'b': {}}}, {'a': {'b': {}}}),
        ({'a': {'b': {'x': 9}}}, {'a': {'b': {'x': 9}}}),
        ({'a': {'b': {'-1': 9}}}, {'a': {'b': {'-1': 9}}}),
        ({'a': {'b': {'\xb2': 9}}}, {'a': {'b': {'\xb2': 9}}}),
    ],
)
def test_indices_change_items_of_a_list(override: object, expected: object) -> None:
    tree = from_plain({'a': {'b': [1, {'c': 2}]}}, 'file')
    assert to_plain(merge(tree, from_plain(override, 'command line'))) == expected
    assert to_plain(tree) == {'a': {'b': [1, {'c': 2}]}}


@pytest.mark.parametrize('index', ['3', '00', '9' * 20])
def test_index_beyond_the_list_is_refused(index: str) -> None:
    tree = from_plain({'a': {'b': [1, 2]}}, 'file')
    with pytest.raises(ConfigError) as caught:
        merge(tree, from_plain({'a': {'b': {index: 9}}}, 'here'))
    assert str(caught.value) == (
        f'here: a.b: expected an index from 0 to 2 of this list, got {index!r}'
    )
