"""Tests of the cache of plans."""

from concurrent.futures import ThreadPoolExecutor
import os
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.engines import plan_cache
from mnssd_perception.engines.plan_cache import PlanCache
import pytest

KEY = {'tensorrt': '10.3.0', 'gpu': 'Orin, compute capability 8.7', 'dla_core': -1}


@pytest.fixture
def lines():
    """Collect the progress."""
    return []


@pytest.fixture
def cache(tmp_path, lines):
    """Make an empty cache."""
    return PlanCache(tmp_path / 'tensorrt', lines.append)


def test_an_empty_cache_has_nothing(cache):
    assert cache.load('net', KEY) == (None, '')


@pytest.mark.parametrize('content', [b'', b'plan', b'\n{}\n', bytes(range(256)) * 99])
def test_content_comes_back(cache, content):
    assert cache.store('net', KEY, content)
    assert cache.load('net', KEY) == (content, '')


@pytest.mark.parametrize('name', KEY)
def test_another_key_has_another_file_and_the_difference_is_named(cache, name):
    cache.store('net', KEY, b'plan')
    other = {**KEY, name: 'other'}
    plan, reason = cache.load('net', other)
    assert plan is None
    assert f'net-{cache.path("net", KEY).stem[4:]}.plan is for {name} ' in reason
    assert "instead of 'other'" in reason
    cache.store('net', other, b'other plan')
    assert cache.load('net', KEY) == (b'plan', '')


def test_the_key_in_the_file_counts_and_not_its_name(cache):
    cache.store('net', KEY, b'plan')
    other = {**KEY, 'tensorrt': '10.4.0'}
    cache.path('net', KEY).rename(cache.path('net', other))
    plan, reason = cache.load('net', other)
    assert plan is None
    assert reason.endswith('cannot be used: it was made for something else')


@given(position=st.integers(0, 10**4), bit=st.integers(0, 7))
def test_any_damaged_bit_is_noticed(tmp_path_factory, position, bit):
    cache = PlanCache(tmp_path_factory.mktemp('cache'), print)
    cache.store('net', KEY, b'plan of some length')
    path = cache.path('net', KEY)
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    plan, reason = cache.load('net', KEY)
    # Other spellings of the same JSON are as good.
    assert plan == b'plan of some length' or (plan is None and 'cannot be used: it' in reason)


@pytest.mark.parametrize('length', [0, 1, 40, -1])
def test_a_file_that_was_cut_short_is_refused(cache, length):
    cache.store('net', KEY, b'plan')
    path = cache.path('net', KEY)
    path.write_bytes(path.read_bytes()[:length])
    plan, reason = cache.load('net', KEY)
    assert plan is None
    assert 'damaged' in reason


@pytest.mark.parametrize(
    'header', [b'[]', b'7', b'[' * 60_000, b'\xff', b'{"a": NaN}', b'{"sha256": 7}']
)
def test_a_strange_header_is_refused(cache, header):
    path = cache.path('net', KEY)
    path.parent.mkdir()
    path.write_bytes(header + b'\nplan')
    plan, reason = cache.load('net', KEY)
    assert plan is None
    assert 'cannot be used' in reason
    assert cache.load('net', {**KEY, 'gpu': 'other'})[0] is None


def test_without_a_folder_nothing_is_kept(lines):
    cache = PlanCache(None, lines.append)
    with cache.lock():
        assert not cache.store('net', KEY, b'plan')
    assert cache.load('net', KEY) == (None, '')
    assert lines == ['there is no cache folder: the next start builds again']


def test_a_folder_that_cannot_be_made_is_reported(tmp_path, lines):
    (tmp_path / 'file').touch()
    cache = PlanCache(tmp_path / 'file' / 'tensorrt', lines.append)
    with cache.lock():
        assert not cache.store('net', KEY, b'plan')
    assert cache.load('net', KEY)[0] is None
    assert 'cannot be kept, the next start builds again: Not a directory' in lines[0]


def test_the_files_whose_use_is_longest_ago_are_removed(cache, monkeypatch):
    monkeypatch.setattr(plan_cache, 'MAX_PLANS', 2)
    for name in 'ab':
        cache.store(name, KEY, name.encode())
        for path in cache.folder.glob('*.plan'):  # times of one moment may be equal
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    cache.load('a', KEY)  # a use makes it young again
    cache.store('c', KEY, b'c')
    assert [cache.load(name, KEY)[0] for name in 'abc'] == [b'a', None, b'c']


def test_one_process_at_a_time_builds(cache, lines):
    script = (
        'import sys\n'
        'from pathlib import Path\n'
        'from mnssd_perception.engines.plan_cache import PlanCache\n'
        'with PlanCache(Path(sys.argv[1]), print).lock():\n'
        '    print("locked", flush=True)\n'
        '    sys.stdin.read()\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', script, str(cache.folder)],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b'locked\n'
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(lambda: cache.lock().__enter__())
            while not lines:
                time.sleep(0.01)
            assert not waiting.done()
            other.kill()  # a lock does not outlive its process
            waiting.result(20)
    assert lines == ['waiting for another process that builds a plan']


def test_many_writers_leave_a_sound_file(cache):
    def store(number):
        with cache.lock():
            return cache.store('net', KEY, b'%d' % number * 10_000)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(store, range(40)))
    plan, reason = cache.load('net', KEY)
    assert plan is not None, reason
    assert sorted(path.suffix for path in cache.folder.iterdir()) == ['', '.plan']
