from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.text import sanitize_text
import pytest


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', ''),
        ('bgr8', 'bgr8'),
        ('Fußgänger 行人', 'Fußgänger 行人'),
        ('a\n[FATAL] b', r'a\n[FATAL] b'),
        ('\x1b[2J', r'\x1b[2J'),
        ('right\u202eleft', r'right\u202eleft'),
        (7, '7'),
    ],
)
def test_control_characters_are_escaped(text, expected):
    assert sanitize_text(text) == expected


def test_long_text_is_shortened():
    assert sanitize_text('x' * 1_000_000, 20) == 'x' * 17 + '...'


@given(st.text(), st.integers(3, 50))
def test_result_is_printable_and_bounded(text, max_chars):
    shown = sanitize_text(text, max_chars)
    assert len(shown) <= max_chars
    assert shown.isprintable()
