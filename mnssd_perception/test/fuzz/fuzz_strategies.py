"""
Hypothesis strategies that damage valid inputs, and the check of what comes of it.

Each fuzz test starts from a small valid input that must be accepted, damages it in a known way and
holds the result against a verdict: a damage is refused, or harmless, or either where only the
reader can tell. A reader that refuses everything fails the controls; one that compares nothing
fails the damages that must be refused.

``FUZZ_COUNT`` sets the number of examples of each test (``make fuzz COUNT=2000``).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
import os
from pathlib import Path
import re
import resource
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from mnssd_perception.errors import MnssdError

T = TypeVar('T')

COUNT = int(os.environ.get('FUZZ_COUNT', '0'))
DEFAULT_COUNT = 10
MAX_MEMORY = (
    1 << 30
)  # bytes that one example may allocate; what is damaged is far below a megabyte
MAX_MESSAGE = 2000  # characters
REFUSED = object()

NUMBERS = (
    'nan', '-inf', 'Infinity', '1e999', '-1', '0', '2', '1e-320', '9' * 400, '65536', '0x10',
    '1,5', '1.5.', '--3', '', 'abc', '1_000', '\u0663', 'true', 'null', '"5"', '[1]', '3.00000001',
)  # fmt: skip
WORDS = ('', 'x', 'null', '\0', '../../etc/passwd', '<', '&', '"', 'x' * 7000, '%s', '\u2603')
SCALARS: tuple[Any, ...] = (
    None, True, 0, 1, -1, 10**9, 2**63, 10**400, 0.0, -0.5, 1e308, 1e-320, '', 'text', '\0',
    '\ud800', '../../etc/passwd', '/etc/passwd', 'C:\\x', 'x' * 10_000, [], [[]], [None], {},
    {'': None}, [1, 2], [0.5, 0.5, 0.5, 0.5], {'path': 'network.onnx'}, list(range(2000)),
)  # fmt: skip


def fuzz_settings(share: float = 1.0) -> settings:
    """
    Return the settings of a fuzz test.

    The default run tries the same few examples each time; one with ``FUZZ_COUNT`` tries new ones.

    :param share: of the count, for tests whose examples take longer.
    """
    return settings(
        max_examples=max(5, int(share * (COUNT or DEFAULT_COUNT))),
        deadline=None,
        derandomize=not COUNT,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # damages are small as they are
        suppress_health_check=list(HealthCheck),
    )


def attempt(call: Callable[[], T], names: Sequence[str] = ()) -> T | object:
    """
    Call what reads a damaged input; an error that is no MnssdError fails the test.

    :param call: reads the input.
    :param names: of files and keys; an error must hold one of them, where there are any.
    :return: what the call returns, or :data:`REFUSED`.
    """
    try:
        with _limited_memory(MAX_MEMORY):
            return call()
    except MnssdError as error:
        message = str(error)
        assert message.isprintable(), f'more than a line of text: {message!r}'
        assert len(message) <= MAX_MESSAGE, f'{len(message)} characters: {message[:100]!r}'
        assert not names or any(name in message for name in names), message
        return REFUSED


@contextmanager
def _limited_memory(num_bytes: int) -> Iterator[None]:
    """Let this process grow by no more than a number of bytes; beyond it raises MemoryError."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files by their paths in a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage bytes as disks, networks and people do; the result always differs."""
    place = draw(st.integers(0, max(0, len(content) - 1)))
    size = draw(st.sampled_from([1, 2, 7, 64, 1000]))
    before, part, after = content[:place], content[place : place + size], content[place + size :]
    other = {
        'cut': before,
        'flip': before + bytes([*(byte ^ 1 << size % 8 for byte in part[:1]), *part[1:]]) + after,
        'zero': before + bytes(len(part)) + after,
        'drop': before + after,
        'double': before + part + part + after,
        'noise': before + draw(st.binary(min_size=len(part), max_size=len(part))) + after,
        'insert': before + draw(st.binary(min_size=1, max_size=9)) + part + after,
    }
    damaged = other[draw(st.sampled_from(list(other)))]
    return damaged if damaged != content else content + b'\0'


@st.composite
def damaged_text(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage text as people, editors and exporters do."""
    way = draw(st.sampled_from(['bytes', 'number', 'number', 'word', 'line', 'ends', 'code']))
    if way in ('number', 'word'):
        pattern, others = (rb'-?\d+(?:\.\d+)?', NUMBERS) if way == 'number' else (rb'\w+', WORDS)
        matches = list(re.finditer(pattern, content))
        if matches:
            match = draw(st.sampled_from(matches))
            other = draw(st.sampled_from(others)).encode()
            return content[: match.start()] + other + content[match.end() :]
    lines = content.splitlines(keepends=True)
    if way == 'line' and lines:
        index = draw(st.integers(0, len(lines) - 1))
        line = lines.pop(index)
        ways: list[list[bytes]] = [[], [line, line], [b'  ' + line], [b'\t' + line], [line[:3]]]
        lines[index:index] = draw(st.sampled_from(ways))
        return b''.join(lines)
    if way == 'ends':
        return content.replace(b'\n', draw(st.sampled_from([b'\r\n', b'\r', b'\0', b' ', b''])))
    if way == 'code':
        code = draw(st.sampled_from(['utf-16', 'utf-32', 'utf-8-sig', 'cp037']))
        return content.decode(errors='replace').encode(code, errors='replace')
    return draw(damaged_bytes(content))


@st.composite
def changed_data(draw: st.DrawFn, data: Any) -> Any:
    """Change one to three things in JSON-like data: a value, a key, an item."""
    data = deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(data))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        way = draw(st.sampled_from(['replace', 'replace', 'remove', 'add', 'nudge', 'rename']))
        value = holder[key]
        if way == 'remove':
            del holder[key]
        elif way == 'add' and isinstance(holder, list):
            holder.append(value)
        elif way in ('add', 'rename') and isinstance(holder, dict):
            holder[f'{key}_'] = value if way == 'add' else holder.pop(key)
        elif way == 'nudge' and isinstance(value, (int, float, str)):
            holder[key] = (
                value + 'x' if isinstance(value, str) else value + draw(st.integers(-2, 2))
            )
        else:
            holder[key] = deepcopy(draw(st.sampled_from(SCALARS)))
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """List (holder, key) of everything in JSON-like data."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, item in items:
        yield data, key
        if isinstance(item, (dict, list)):
            yield from _places(item)
