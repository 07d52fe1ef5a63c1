"""Write the status of a run when it ends, and explain the errors of torch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import signal
import textwrap
from threading import current_thread, main_thread

from mnssd_perception.errors import MnssdError
from mnssd_training.errors import TrainingError
from mnssd_training.train.interrupt import Preempted, StopRequest
from mnssd_training.train.progress import Progress
from mnssd_training.train.run_folder import RunFolder, Status
import torch

# Raised in the main process when a loader's worker is killed while it hands a batch over.
DEAD_WORKER = (ConnectionError, EOFError)


@contextmanager
def run_status(folder: RunFolder | None, progress: Progress, stop: StopRequest) -> Iterator[None]:
    """Write how a run ends to ``status.json`` on rank 0; a second signal waits for that."""

    def write(status: Status, reason: str = '') -> None:
        # An error of the run matters more than the full disk that keeps its status from being
        # written.
        with stop.deferred(), suppress(*([MnssdError] if reason else [])):
            if folder:
                folder.write_status(status, progress, reason)

    write('running')
    try:
        yield
    except (Preempted, MnssdError) as error:
        write('preempted' if isinstance(error, Preempted) else 'failed', str(error))
        raise
    except BaseException as error:
        explanation = ''
        if isinstance(error, (RuntimeError, *DEAD_WORKER)):
            # After one worker was killed, torch's handler raises for each other that ends,
            # wherever the program is, and would interrupt the writing of the status.
            if current_thread() is main_thread():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            explanation = _explain(error)
        write('failed', explanation or f'{type(error).__name__}: {error}')
        if explanation:
            raise TrainingError(explanation) from error
        raise
    write('success')


def _explain(error: BaseException) -> str:
    """Explain an error whose cause is outside the run; empty for any other error."""
    message = textwrap.shorten(str(error), 200)
    if 'DataLoader worker' in message or isinstance(error, DEAD_WORKER):
        return (
            f'a worker that loads images has died: {message}; it may have run out of memory: '
            f'lower training.workers, or see the system log'
        )
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in message:
        return (
            f'out of memory: {message}; lower training.batch_size, raise '
            f'training.grad_accum_steps, or set training.gradient_checkpointing'
        )
    if isinstance(error, torch.distributed.DistError) or 'Connection closed by peer' in message:
        return f'another process of this run has ended: {message}; its own error says why'
    return ''
