"""The verdicts of the process in which fuzz tests read their inputs."""

import os
import signal
import time

import fuzzing
from fuzzing import refusal
from mnssd_perception.errors import MnssdError
import pytest


def refuse(message: str) -> None:
    raise MnssdError(message)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail() -> None:
    raise KeyError('width')


def allocate(num_bytes: int) -> None:
    assert len(bytes(num_bytes)) == num_bytes


def test_refused_and_accepted_inputs_are_told_apart() -> None:
    assert refusal(refuse, 'a.json: no JSON', names=['b.json', 'a.json']) == 'a.json: no JSON'
    assert refusal(allocate, 1 << 20) == ''


@pytest.mark.parametrize('message', ['two\nlines', '', 'x' * 3000, 'no name'])
def test_bad_message_fails_the_test(message: str) -> None:
    with pytest.raises(AssertionError):
        refusal(refuse, message, names=['a.json', 'x', 'lines'])


def test_foreign_error_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="KeyError: 'width'"):
        refusal(fail)


def test_too_much_memory_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match='MemoryError'):
        refusal(allocate, 2 * fuzzing.MAX_MEMORY)


def test_crash_fails_the_test_and_not_the_next() -> None:
    with pytest.raises(pytest.fail.Exception, match='crash crashed with exit code -11'):
        refusal(crash)
    assert refusal(allocate, 1) == ''


def test_hang_fails_the_test_and_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(sleep, 0) == ''
    monkeypatch.setattr(fuzzing, 'TIMEOUT', 0.2)
    with pytest.raises(pytest.fail.Exception, match=r'took more than 0\.2 s'):
        refusal(sleep, 60)
    monkeypatch.undo()
    assert refusal(allocate, 1) == ''


def sleep(seconds: float) -> None:
    time.sleep(seconds)
