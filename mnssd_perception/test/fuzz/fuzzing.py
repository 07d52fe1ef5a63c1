"""
Hypothesis strategies that corrupt valid inputs, and a process that reads them.

Each fuzz test has a control, a valid input that must be accepted. The test corrupts it and knows
the verdict: the input must be refused, or it may be accepted, and then the reader, a function of
the test, asserts that what it holds is valid. A reader runs in another process: a crash, a hang,
too much memory and an error that is no MnssdError fail the test, and not the test run.

``FUZZ_COUNT`` sets the number of examples of each test (``make fuzz COUNT=2000``).
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
import importlib.util
from multiprocessing import get_context
from multiprocessing.connection import Connection
import os
from pathlib import Path
import re
import resource
import sys
import traceback
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from mnssd_perception.errors import MnssdError
import pytest

COUNT = int(os.environ.get('FUZZ_COUNT', '0'))
DEFAULT_COUNT = 10
MAX_MEMORY = 1 << 30  # bytes that a reader may allocate; the inputs are far below a megabyte
MAX_MESSAGE = 2000  # characters
TIMEOUT = 120.0  # s, also for the imports of the first call

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
    Return the settings of a fuzz test; without ``FUZZ_COUNT`` the examples are always the same.

    :param share: of the count, for tests whose examples take longer.
    """
    return settings(
        max_examples=max(5, int(share * (COUNT or DEFAULT_COUNT))),
        deadline=None,
        derandomize=not COUNT,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # corruptions are small as they are
        suppress_health_check=list(HealthCheck),
    )


def refusal(read: Callable[..., object], *args: Any, names: Sequence[str] = ()) -> str:
    """
    Call a reader in another process; return why it refuses its input, or '' if it accepts it.

    :param read: a function of a test module; raises MnssdError to refuse.
    :param names: of files and keys: the message must contain one of them, if any are given.
    """
    worker, connection = _start_worker()
    connection.send((read.__code__.co_filename, read.__name__, args))
    try:
        if not connection.poll(TIMEOUT):
            worker.kill()
            worker.join()
            pytest.fail(f'{read.__name__} took more than {TIMEOUT} s')
        refused, message = connection.recv()
    except (EOFError, ConnectionError):
        worker.join()
        pytest.fail(f'{read.__name__} crashed with exit code {worker.exitcode}')
    finally:
        if not worker.is_alive():
            _start_worker.cache_clear()
    if refused is None:
        pytest.fail(message)
    if refused:
        assert message.isprintable(), f'more than a line of text: {message!r}'
        assert 0 < len(message) <= MAX_MESSAGE, f'{len(message)} characters: {message[:100]!r}'
        assert not names or any(name in message for name in names), message
    return message


@lru_cache
def _start_worker() -> tuple[Any, Connection]:
    context = get_context('spawn')
    connection, child = context.Pipe()
    worker = context.Process(target=_serve, args=(child,), daemon=True)
    worker.start()
    child.close()  # so that a crash ends recv()
    return worker, connection


def _serve(connection: Connection) -> None:
    """Send whether a reader refuses its input (None after another error), and the message."""
    load = lru_cache(_load_module)
    while True:
        path, name, args = connection.recv()
        read = getattr(load(path), name)
        limits = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY, limits[1]))
        try:
            read(*args)
            answer: tuple[bool | None, str] = (False, '')
        except MnssdError as error:
            answer = (True, str(error))
        except BaseException:
            answer = (None, traceback.format_exc())
        resource.setrlimit(resource.RLIMIT_AS, limits)
        connection.send(answer)


def _load_module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(f'fuzz_{Path(path).stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def read_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a folder and its sub-folders, by their paths in it."""
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files by their paths in a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


class ShortBytes(bytes):
    """Bytes of which hypothesis does not print megabytes."""

    def __repr__(self) -> str:
        return super().__repr__() if len(self) < 1000 else f'<{len(self)} bytes>'


@st.composite
def corrupt_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Corrupt bytes as disks, networks and people do; the result always differs."""
    start = draw(st.integers(0, max(0, len(content) - 1)))
    size = draw(st.sampled_from([1, 2, 7, 64, 1000]))
    before, part, after = content[:start], content[start : start + size], content[start + size :]
    results = {
        'cut': before,
        'flip': before + bytes([*(byte ^ 1 << size % 8 for byte in part[:1]), *part[1:]]) + after,
        'zero': before + bytes(len(part)) + after,
        'drop': before + after,
        'double': before + part + part + after,
        'noise': before + draw(st.binary(min_size=len(part), max_size=len(part))) + after,
        'insert': before + draw(st.binary(min_size=1, max_size=9)) + part + after,
    }
    corrupt = results[draw(st.sampled_from(list(results)))]
    return ShortBytes(corrupt if corrupt != content else content + b'\0')


@st.composite
def corrupt_text(draw: st.DrawFn, content: bytes) -> bytes:
    """Corrupt text as people, editors and exporters do."""
    way = draw(st.sampled_from(['bytes', 'number', 'number', 'word', 'line', 'ends', 'code']))
    if way in ('number', 'word'):
        pattern, choices = (rb'-?\d+(?:\.\d+)?', NUMBERS) if way == 'number' else (rb'\w+', WORDS)
        if matches := list(re.finditer(pattern, content)):
            match = draw(st.sampled_from(matches))
            replacement = draw(st.sampled_from(choices)).encode()
            return content[: match.start()] + replacement + content[match.end() :]
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
    return draw(corrupt_bytes(content))


@st.composite
def corrupt_data(draw: st.DrawFn, data: Any) -> Any:
    """Change one to three values, keys or items of JSON-like data."""
    data = deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        items = list(_items(data))
        if not items:
            break
        parent, key = draw(st.sampled_from(items))
        way = draw(st.sampled_from(['replace', 'replace', 'remove', 'add', 'nudge', 'rename']))
        value = parent[key]
        if way == 'remove':
            del parent[key]
        elif way == 'add' and isinstance(parent, list):
            parent.append(value)
        elif way in ('add', 'rename') and isinstance(parent, dict):
            parent[f'{key}_'] = value if way == 'add' else parent.pop(key)
        elif way == 'nudge' and isinstance(value, str):
            parent[key] = value + 'x'
        elif way == 'nudge' and isinstance(value, (int, float)):
            parent[key] = value + draw(st.integers(-2, 2))
        else:
            parent[key] = deepcopy(draw(st.sampled_from(SCALARS)))
    return data


def _items(data: Any) -> Iterator[tuple[Any, Any]]:
    """List (parent, key) of everything in JSON-like data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, (dict, list)):
            yield from _items(value)
