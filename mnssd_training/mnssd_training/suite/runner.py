"""
Run the trainings of a suite, several side by side, each in a process of its own.

Each process leads a session of its own: a Ctrl-C of the terminal reaches the suite alone, which
sends each run one SIGTERM. A second signal would end a run before its checkpoint.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
import os
import signal
import subprocess
import sys
import time

from mnssd_training.errors import TrainingError
from mnssd_training.suite.plan import SuiteRun
from mnssd_training.suite.status import format_progress, last_message, LOG_FILE, read_status
from mnssd_training.train import handle_signals

POLL_SECONDS = 0.5
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)  # exit codes; negative before the run began


@dataclass(frozen=True)
class Outcome:
    """How the runs of a suite ended, by name; those that never started are in neither."""

    failed: dict[str, str]  # name of the run: reason
    stopped: tuple[str, ...]  # after a checkpoint, to be resumed
    signum: int  # that stopped the suite; 0 for none


def run_suite(
    runs: Sequence[SuiteRun],
    *,
    jobs: int = 1,
    time_limit: float | None = None,
    report: Callable[[str], object] = print,
    show_progress: Callable[[str], object] = lambda _: None,
) -> Outcome:
    """
    Train what has not been trained yet, and resume what was interrupted; a failed run tries again.

    A signal or the time limit stops all runs after their current step and checkpoint; a second
    signal kills them.

    :param jobs: trainings at a time, which share the cores.
    :param time_limit: seconds after which no run starts and those that run are stopped.
    :param report: is called with a line when a run starts or ends.
    :param show_progress: is called with a line about the runs in progress, every second or two.
    """
    start = time.monotonic()
    pending = [run for run in runs if read_status(run.folder).state != 'success']
    num_done, is_stopping = len(runs) - len(pending), False
    active: dict[str, tuple[SuiteRun, subprocess.Popen[bytes]]] = {}
    failed: dict[str, str] = {}
    stopped: list[str] = []
    with handle_signals() as stop:
        try:
            while pending or active:
                is_late = time_limit is not None and time.monotonic() - start >= time_limit
                if (stop.signum or is_late) and not is_stopping:
                    is_stopping = True
                    pending.clear()
                    why = 'interrupted' if stop.signum else 'time limit'
                    report(f'{why}: stopping {len(active)} runs after their checkpoints')
                    for _, process in active.values():
                        process.terminate()
                while pending and len(active) < jobs:
                    run = pending.pop(0)
                    active[run.name] = run, _start(run, jobs)
                    report(f'started {run.name}: {run.folder}')
                for name, (run, process) in list(active.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del active[name]
                    if code == 0:
                        num_done += 1
                        report(f'finished {name}')
                    elif is_stopping and code in STOPPED:
                        stopped.append(name)
                    else:
                        failed[name] = last_message(run.folder) or f'exit code {code}'
                        report(f'failed {name}: {failed[name]}')
                counts = f'{num_done}/{len(runs)} done, {len(failed)} failed'
                lines = [format_progress(run) for run, _ in active.values()]
                show_progress(' | '.join([counts, *lines]))
                time.sleep(POLL_SECONDS)
        finally:
            for _, process in active.values():  # after a second signal
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Outcome(failed, tuple(stopped), stop.signum)


def train_command(run: SuiteRun) -> list[str]:
    """Return the command that trains a run, or resumes it."""
    package = __name__.partition('.')[0]
    options = ['--run-folder', str(run.folder), '--resume', '--quiet']
    return [sys.executable, '-m', package, 'train', *run.arguments, *options]


def _start(run: SuiteRun, jobs: int) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0))
    threads = {'OMP_NUM_THREADS': str(max(1, cores // jobs))}
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / LOG_FILE).open('ab') as log:
            return subprocess.Popen(
                train_command(run),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=threads | dict(os.environ),
                start_new_session=True,
            )
    except OSError as error:
        raise TrainingError(f'{run.folder}: cannot start: {error.strerror}') from error
