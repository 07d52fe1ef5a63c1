"""Signals: the first requests a stop, the second stops; workers survive the first."""

from collections.abc import Callable
import os
import signal
from threading import Thread
import time

from mnssd_training.train.interrupt import handle_signals, Preempted, shield_worker, StopRequest
import pytest


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handle_signals() as stop:
        stop.check()
        assert stop.signum == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])
def test_second_signal_raises(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Preempted) as caught, handle_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.signum == number
        os.kill(os.getpid(), number)
        time.sleep(5)  # never so long
    assert caught.value.signum == number
    assert str(caught.value) == f'stopped by {number.name}; continue with --resume'
    assert signal.getsignal(number) is before


def test_check_raises_after_a_signal() -> None:
    stop = StopRequest()
    stop.handle_signal(signal.SIGTERM)
    with pytest.raises(Preempted, match='SIGTERM'):
        stop.check()


def test_second_signal_is_deferred_while_a_file_is_written() -> None:
    written = []
    with pytest.raises(Preempted) as caught, handle_signals() as stop:
        with stop.deferred():
            pass  # no signal, no error
        with stop.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            written.append('file')
        written.append('never')
    assert caught.value.signum == signal.SIGINT
    assert written == ['file']


def test_deferred_signal_does_not_hide_an_error() -> None:
    stop = StopRequest()
    stop.handle_signal(signal.SIGTERM)
    with pytest.raises(ValueError, match='disk'), stop.deferred():
        stop.handle_signal(signal.SIGTERM)
        raise ValueError('disk')


def test_no_handler_is_set_outside_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with handle_signals() as stop:
            seen.append((stop.signum, signal.getsignal(signal.SIGINT)))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, before)]


def test_worker_survives_signals_for_a_while(
    forked: Callable[[Callable[[], object]], int],
) -> None:
    def work() -> None:
        shield_worker(0)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert 0 < signal.alarm(0) <= 60
        signal.alarm(1)
        os._exit(7)

    assert forked(work) == 7
