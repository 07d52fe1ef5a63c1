"""Sound text to damaged text, as people, editors and exporters damage it."""

import re

import numpy as np

from mnssd_attack.spoil import spoil

__all__ = ['spoil_text']

NUMBER = re.compile(rb'-?\d+(?:\.\d+)?')
WORD = re.compile(rb'[A-Za-z_]+')
NUMBERS = (
    'nan', '-nan', 'NaN', 'inf', '-inf', 'Infinity', '1e999', '-1', '0', '-0', '2', '1e-320',
    '99999999999999999999', '9' * 5000, '65536', '1e400', '0x10', '1,5', '1.5.', '--3', '', 'abc',
    '1_000', '\u0663', '\uff11\uff12', '\u00bd', 'true', 'null', '"5"', '[1]', '3.0000000001',
)  # fmt: skip
WORDS = (
    '', 'x', 'null', '\0', '../../etc/passwd', '<', '&', '"', 'x' * 70_000, '%s', '\u2603', 'a b',
)  # fmt: skip
CODES = ('utf-16', 'utf-32', 'utf-8-sig', 'cp037', 'utf-7')
LINE_ENDS = (b'\r\n', b'\r', b'\0', b'\x0c', b'\n\n', b' ')


def spoil_text(content: bytes, generator: np.random.Generator) -> bytes:
    """
    Damage text.

    :param content: sound text in UTF-8.
    :param generator: of the damage.
    :return: damaged bytes; now and then equal to the sound ones.
    """
    way = generator.choice(
        ['bytes', 'number', 'number', 'number', 'word', 'line', 'code', 'ends', 'empty', 'twice']
    )
    if way in ('number', 'word'):
        pattern, others = (NUMBER, NUMBERS) if way == 'number' else (WORD, WORDS)
        other = others[int(generator.integers(0, len(others)))]
        return _replace(content, pattern, other.encode(), generator)
    if way == 'line':
        return _change_line(content, generator)
    if way == 'code':
        text = content.decode(errors='replace')
        return text.encode(str(generator.choice(CODES)), errors='replace')
    if way == 'ends':
        return content.replace(b'\n', LINE_ENDS[int(generator.integers(0, len(LINE_ENDS)))])
    if way == 'empty':
        return bytes(generator.choice(np.array([b'', b'\n', b' \n\t\n', b'\xef\xbb\xbf'])))
    return content * 2 if way == 'twice' else spoil(content, generator)


def _replace(
    content: bytes, pattern: re.Pattern[bytes], other: bytes, generator: np.random.Generator
) -> bytes:
    """Replace one match of a pattern."""
    found = list(pattern.finditer(content))
    if not found:
        return content
    match = found[int(generator.integers(0, len(found)))]
    return content[: match.start()] + other + content[match.end() :]


def _change_line(content: bytes, generator: np.random.Generator) -> bytes:
    """Drop, double, move, indent or cut one line."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    at = int(generator.integers(0, len(lines)))
    way = generator.choice(['drop', 'double', 'move', 'indent', 'tab', 'cut'])
    line = lines.pop(at)
    if way == 'double':
        lines[at:at] = [line, line]
    elif way == 'move':
        lines.insert(int(generator.integers(0, len(lines) + 1)), line)
    elif way == 'indent':
        lines.insert(at, b'  ' + line)
    elif way == 'tab':
        lines.insert(at, b'\t' + line)
    elif way == 'cut':
        lines.insert(at, line[: len(line) // 2] + b'\n')
    return b''.join(lines)
