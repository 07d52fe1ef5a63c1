"""Tests of dataclasses to plain data and back."""

from dataclasses import dataclass, field
import json
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.errors import MnssdError, SpecError
from mnssd_perception.serialization import from_plain, to_plain
import pytest


@dataclass(frozen=True)
class Inner:
    """Has a default."""

    side: float
    name: str = 'inner'


@dataclass(frozen=True)
class Outer:
    """Has every type that is known."""

    count: int
    ratio: float = 0.5
    flag: bool = False
    mode: Literal['one', 'two'] = 'one'
    pair: tuple[int, float] = (1, 2.0)
    inners: tuple[Inner, ...] = ()
    inner: Inner = Inner(1.0)
    perhaps: int | None = None
    texts: dict[str, str] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    whatever: Any = None


@dataclass(frozen=True)
class Empty:
    """Has nothing."""


FULL = Outer(
    3, 1.5, True, 'two', (4, 5.0), (Inner(1.0), Inner(2.0, 'x')), Inner(9.0), 7, {'a': 'b'},
    {'deep': [1, None, {'er': True}]}, ['x'],
)  # fmt: skip


def read(plain, kind=Outer):
    """Run the function under test."""
    return from_plain(kind, plain, SpecError)


def test_empty():
    assert to_plain(Empty()) == {}
    assert read({}, Empty) == Empty()


def test_json_round_trip():
    assert read(json.loads(json.dumps(to_plain(FULL)))) == FULL


def test_defaults():
    assert read({'count': 1}) == Outer(1)
    assert read({'count': 1}).texts is not read({'count': 1}).texts


@pytest.mark.parametrize(
    ('value', 'plain'),
    [
        ((), []),
        ({}, {}),
        (None, None),
        ((1, (2, [3])), [1, [2, [3]]]),
        ({'a': (Inner(1.0),)}, {'a': [{'side': 1.0, 'name': 'inner'}]}),
    ],
)
def test_to_plain(value, plain):
    assert to_plain(value) == plain


@pytest.mark.parametrize('value', [0, 2, 2.5, -1])
def test_integers_are_accepted_as_floats(value):
    found = read({'count': 1, 'ratio': value}).ratio
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    ('plain', 'message'),
    [
        ({}, "missing key 'count'"),
        (
            {'count': 1, 'extra': 1},
            "unknown key 'extra' at the top level; supported are count",
        ),
        ({'count': 1, 3: 1}, "unknown key '3' at the top level"),
        ({'count': None}, 'expected int at count, got None'),
        ({'count': '1'}, "expected int at count, got '1'"),
        ({'count': 1.0}, 'expected int at count, got 1.0'),
        ({'count': True}, 'expected int at count, got True'),
        ({'count': 1, 'ratio': True}, 'expected float at ratio, got True'),
        ({'count': 1, 'ratio': '1'}, "expected float at ratio, got '1'"),
        ({'count': 1, 'ratio': 10**400}, 'expected a smaller number at ratio'),
        ({'count': 1, 'flag': 1}, 'expected bool at flag, got 1'),
        ({'count': 1, 'mode': 'three'}, 'at mode, got .three.'),
        ({'count': 1, 'mode': ['one']}, 'at mode'),
        ({'count': 1, 'mode': None}, 'at mode, got None'),
        ({'count': 1, 'pair': [1]}, 'expected 2 values at pair, got 1'),
        ({'count': 1, 'pair': [1, 2, 3]}, 'expected 2 values at pair, got 3'),
        ({'count': 1, 'pair': [1, 'a']}, r'expected float at pair\[1\]'),
        ({'count': 1, 'pair': 'ab'}, 'expected a list at pair'),
        ({'count': 1, 'pair': {'a': 1}}, 'expected a list at pair'),
        ({'count': 1, 'inners': [{'side': 1}, {}]}, r"missing key 'inners\[1\].side'"),
        ({'count': 1, 'inners': [{'side': 1}, 4]}, r'expected an object at inners\[1\], got 4'),
        ({'count': 1, 'inner': []}, r'expected an object at inner, got \[\]'),
        (
            {'count': 1, 'inner': {'side': 1, 'x': 1}},
            "unknown key 'x' at inner; supported",
        ),
        ({'count': 1, 'inner': {'side': 1, 'name': 1}}, 'expected str at inner.name, got 1'),
        ({'count': 1, 'perhaps': 'a'}, 'expected int at perhaps'),
        ({'count': 1, 'texts': {'a': 1}}, 'expected str at texts.a, got 1'),
        ({'count': 1, 'texts': {1: 'a'}}, 'expected an object at texts'),
        ({'count': 1, 'texts': []}, 'expected an object at texts'),
        ({'count': 'x' * 500}, r'at count, got .{57}\.\.\.$'),
    ],
)
def test_errors_name_the_key(plain, message):
    with pytest.raises(SpecError, match=message):
        read(plain)


@pytest.mark.parametrize('plain', [None, [], '', 0, True, ()])
def test_other_data_are_refused_as_an_object(plain):
    with pytest.raises(SpecError, match='expected an object at the top level'):
        read(plain)


def test_the_error_is_made_by_the_caller():
    with pytest.raises(KeyError, match='missing'):
        from_plain(Outer, {}, KeyError)


numbers = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(Inner, numbers, st.text())
outers = st.builds(
    Outer,
    count=st.integers(),
    ratio=numbers,
    flag=st.booleans(),
    mode=st.sampled_from(['one', 'two']),
    pair=st.tuples(st.integers(), numbers),
    inners=st.lists(inners, max_size=3).map(tuple),
    inner=inners,
    perhaps=st.none() | st.integers(),
    texts=st.dictionaries(st.text(), st.text(), max_size=3),
)


@settings(max_examples=100, deadline=None)
@given(outers)
def test_round_trip(value):
    assert read(json.loads(json.dumps(to_plain(value)))) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
keys = st.sampled_from([*Outer.__dataclass_fields__, 'other'])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys, json_values, max_size=6))
def test_anything_is_read_or_refused(plain):
    try:
        assert isinstance(read(plain), Outer)
    except MnssdError as error:
        assert str(error)
