"""A job to a workspace in which every step was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import threading
import time

from mnssd_workspace.checks import check_disk, check_python
from mnssd_workspace.environment import activation_script, launcher_script
from mnssd_workspace.lock import only_one
from mnssd_workspace.plan import environment_paths, Job, make_plan
from mnssd_workspace.steps import pending_steps, run_steps, Step
from mnssd_workspace.venv import site_packages

__all__ = ['set_up']

_RESERVE = 200_000_000
_LARGE = 1_000_000_000


def set_up(job: Job) -> None:
    """
    Make a workspace, or what is missing of it.

    :param job: what is to be made.
    :raises WorkspaceError: if that is not possible.
    """
    check_python(job.host)
    with only_one(job.layout.root):
        steps = make_plan(job)
        pending = pending_steps(steps, job.layout.state)
        for step in pending:
            if step.check is not None:
                step.check()
        space = sum(step.space for step in pending)
        if space:
            large = any(step.space > _LARGE for step in pending)
            check_disk(job.layout.root, space + _RESERVE, training=large)
        run_steps(steps, job.layout.state, _Progress(len(pending)))
        _write_activation(job)


class _Progress:
    """Print a line when a step begins and one when it has ended."""

    def __init__(self, total: int):
        self._total = total
        self._num_begun = 0
        self._lock = threading.Lock()

    def __call__(self, step: Step) -> Callable[[bool], None]:
        begin = time.monotonic()
        with self._lock:
            self._num_begun += 1
            label = f'[{self._num_begun}/{self._total}] {step.title}'
            print(f'{label} ...', flush=True)

        def ended(good: bool) -> None:
            seconds = time.monotonic() - begin
            with self._lock:
                print(f'{label}: {"done" if good else "FAILED"} ({seconds:.1f} s)', flush=True)

        return ended


def _write_activation(job: Job) -> None:
    paths = environment_paths(job.layout, job.host)
    _write(job.layout.activation, activation_script(job.layout, paths, wheels=job.wheels))
    # Where only the virtual environment is active, `python -m` and torchrun find the packages.
    links = site_packages(job.layout, job.host.dotted) / 'mnssd_workspace.pth'
    _write(links, ''.join(f'{path}\n' for path in paths['PYTHONPATH']))
    _write(job.layout.launcher, launcher_script(job.layout))
    job.layout.launcher.chmod(0o755)


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
