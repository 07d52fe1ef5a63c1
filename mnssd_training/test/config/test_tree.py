"""Nested keys: merged, followed and changed without losing where they were set."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config.yaml_tree import find, from_plain, merge, Node, to_plain
from mnssd_training.errors import ConfigError
import pytest

words = st.text('ab', min_size=1, max_size=2)
plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
plain_dicts = st.dictionaries(words, plain_values, max_size=3)


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
def test_merging_keeps_what_it_is_given(low: object, high: object) -> None:
    assert merged(low, {}) == low
    assert merged({}, low) == low
    assert merged(low, low) == low
    assert merged(merged(low, high), high) == merged(low, high)


def test_the_last_to_set_a_key_is_its_origin() -> None:
    tree = merge(from_plain({'a': {'b': 1, 'c': 2}}, 'low'), from_plain({'a': {'c': 3}}, 'high'))
    assert find(tree, ('a', 'b')).origin == 'low'
    assert find(tree, ('a', 'c')).origin == 'high'


def test_a_path_is_followed_as_far_as_it_goes() -> None:
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
