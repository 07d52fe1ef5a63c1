"""Environment variables in values."""

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config.environment import expand, expand_tree
from mnssd_training.config.yaml_tree import find, read_yaml, to_plain
from mnssd_training.errors import ConfigError
import pytest

ENVIRONMENT = {'DATA': '/data', 'EMPTY': '', 'NUM': '3', 'TRICK': '${DATA}', 'BYTES': 'a\udcff'}


@pytest.mark.parametrize(
    ('text', 'expected', 'used'),
    [
        ('', '', ()),
        ('plain $ {text}', 'plain $ {text}', ()),
        ('${DATA}', '/data', ('DATA',)),
        ('${DATA}/a/${NUM}', '/data/a/3', ('DATA', 'NUM')),
        ('${DATA:-x}', '/data', ('DATA',)),
        ('${GONE:-x y}', 'x y', ()),
        ('${GONE:-}', '', ()),
        ('${GONE:-a:-b}', 'a:-b', ()),
        ('${EMPTY:-x}', 'x', ()),
        ('a${EMPTY}b', 'ab', ('EMPTY',)),
        ('$${DATA}', '${DATA}', ()),
        ('$$${DATA}', '$${DATA}', ()),
        ('${TRICK}', '${DATA}', ('TRICK',)),
        ('$DATA', '$DATA', ()),
    ],
)
def test_expand(text: str, expected: str, used: tuple[str, ...]) -> None:
    assert expand(text, ENVIRONMENT, 'here') == (expected, used)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('${GONE}', 'here: the environment variable GONE is not set'),
        ('${GONE', "expected ${VAR} or ${VAR:-default}, got '${GONE'"),
        ('${}', "got '${}'"),
        ('${7}', "got '${7}'"),
        ('${DATA-x}', "got '${DATA-x}'"),
        ('${GONE:-${DATA}}', "got '${GONE:-${DATA}'"),
        ('${BYTES}', 'expected text in UTF-8 in the variable BYTES'),
    ],
)
def test_invalid_references_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(text, ENVIRONMENT, 'here')
    assert message in str(caught.value)


@given(st.text('${}:-AB', max_size=12))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        expand(text, {'A': 'B'}, 'here')
    except ConfigError as error:
        assert str(error).startswith('here: ')


@given(st.text('${}:-AB', max_size=12))
def test_two_dollars_escape_a_reference(text: str) -> None:
    assert expand(text.replace('${', '$${'), {}, 'here')[0] == text


def test_expanded_values_keep_type_and_origin() -> None:
    text = 'a: ${NUM}\nb: x${NUM}\nc: [1, "${NUM}"]\nd: 5\ne: ${GONE:-0.5}\n'
    tree = expand_tree(read_yaml(text, 'own.yaml'), ENVIRONMENT)
    assert to_plain(tree) == {'a': 3, 'b': 'x3', 'c': [1, 3], 'd': 5, 'e': 0.5}
    assert find(tree, ('c', 1)).text == '3'
    assert find(tree, ('a',)).origin == 'own.yaml:1, environment NUM'
    assert find(tree, ('d',)).origin == 'own.yaml:4'
    assert find(tree, ('e',)).origin == 'own.yaml:5'


def test_missing_variable_is_reported_with_file_and_key() -> None:
    with pytest.raises(ConfigError) as caught:
        expand_tree(
            read_yaml('data:\n  extra_sources:\n    - root: ${GONE}\n', 'own.yaml'), ENVIRONMENT
        )
    assert str(caught.value).startswith(
        'own.yaml:3: data.extra_sources.0.root: the environment variable GONE is not set; '
        'set it, or write'
    )
