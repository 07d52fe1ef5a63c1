"""How a run ended, to its status; and what torch says, to words."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import signal
import textwrap
from threading import current_thread, main_thread

from mnssd_perception.errors import MnssdError
from mnssd_training.errors import TrainingError
from mnssd_training.train.interrupt import Preempted, Stop
from mnssd_training.train.progress import Progress
from mnssd_training.train.run import RunFolder, Status
import torch

# What a loader's worker that is killed while it hands a batch over raises in the main process.
DEAD_WORKER = (ConnectionError, EOFError)


@contextmanager
def told(folder: RunFolder | None, done: Progress, stop: Stop) -> Iterator[None]:
    """
    Write down how a run ends.

    :param folder: of the run; None in all processes but the first.
    :param done: how far the run is.
    :param stop: a second signal waits until the status is written.
    :raises TrainingError: in place of what torch raises when a worker is killed, memory is full or
        another process has gone.
    """
    with stop.held():
        _tell(folder, 'running', done)
    try:
        yield
    except Preempted as preempted:
        with stop.held():
            _tell(folder, 'preempted', done, str(preempted))
        raise
    except MnssdError as error:
        _tell(folder, 'failed', done, str(error))
        raise
    except (RuntimeError, *DEAD_WORKER) as error:
        _ignore_workers()
        words = _in_words(error)
        _tell(folder, 'failed', done, words or f'{type(error).__name__}: {error}')
        if not words:
            raise
        raise TrainingError(words) from error
    except BaseException as error:
        _tell(folder, 'failed', done, f'{type(error).__name__}: {error}')
        raise
    _tell(folder, 'success', done)


def _tell(folder: RunFolder | None, status: Status, done: Progress, reason: str = '') -> None:
    """Write the status; that the disk is full must not hide why the run ended."""
    with suppress(*([MnssdError] if reason else [])):
        if folder:
            folder.tell(status, done, reason)


def _ignore_workers() -> None:
    """
    Keep torch from raising again.

    Its handler of SIGCHLD raises wherever the program is, for each loader's worker that ends after
    one was killed; that would tear the writing of the status apart.
    """
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _in_words(error: Exception) -> str:
    """Say what went wrong around the run and not in it; empty for anything else."""
    first = textwrap.shorten(str(error), 200)
    if 'DataLoader worker' in first or isinstance(error, DEAD_WORKER):
        return (
            f'a process that loads images has died: {first}; it may have run out of memory: '
            f'lower training.workers, or see the system log'
        )
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in first:
        return (
            f'memory is full: {first}; lower training.batch_size, raise '
            f'training.grad_accum_steps, or set training.gradient_checkpointing'
        )
    if isinstance(error, torch.distributed.DistError) or 'Connection closed by peer' in first:
        return f'another process of this run has gone: {first}; its own error says why'
    return ''
