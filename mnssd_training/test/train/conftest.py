"""Fixtures of the training tests: a tiny experiment, and forked processes."""

from collections.abc import Callable
import ctypes
import os
from pathlib import Path
import sys
import traceback
from typing import Any

from mnssd_training.config import Experiment, load_experiment
from mnssd_training.train import dry_run, loop
from mnssd_training.train.step import forward_backward
import pytest
import torch

TINY = {
    'input.size': '[64, 80]',
    'model.pyramid_channels': 8,
    'model.width_mult': 0.25,
    'training.batch_size': 2,
    'training.epochs': 2,
    'logging.tensorboard': 'false',
    'logging.every_steps': 1,
}


@pytest.fixture
def tiny(hit_uav: Path) -> Callable[..., Experiment]:
    """Make an experiment that takes seconds on real images, with overrides."""

    def make(**changes: Any) -> Experiment:
        merged = {'data.root': hit_uav, **TINY, **changes}
        return load_experiment('smoke', [f'{key}={value}' for key, value in merged.items()])

    return make


def fork(work: Callable[[], object]) -> int:
    """Run a function in a forked process that exits with 0, or with 99 after an error."""
    if torch.cuda.is_available():
        pytest.skip('autograd on CUDA cannot be forked')
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            work()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def leave(child: int) -> int:
    """Wait for a process; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def forked() -> Callable[[Callable[[], object]], int]:
    """Run a function in another process; return its exit code."""
    return lambda work: leave(fork(work))


UNSHARE_USERS_AND_MOUNTS = 0x10020000  # CLONE_NEWUSER | CLONE_NEWNS
SMALL_DISK = 8 << 20  # bytes
CANNOT_MOUNT = 77


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[Callable[[Path], object]], None]:
    """Run a function in another process, on a private disk of 8 MiB."""

    def run(work: Callable[[Path], object]) -> None:
        folder = tmp_path / 'disk'
        folder.mkdir()

        def mounted() -> None:
            libc = ctypes.CDLL(None)
            user, group = os.getuid(), os.getgid()
            if libc.unshare(UNSHARE_USERS_AND_MOUNTS):
                sys.exit(CANNOT_MOUNT)
            try:
                Path('/proc/self/setgroups').write_text('deny')
                Path('/proc/self/uid_map').write_text(f'0 {user} 1')
                Path('/proc/self/gid_map').write_text(f'0 {group} 1')
            except OSError:
                sys.exit(CANNOT_MOUNT)
            options = f'size={SMALL_DISK}'.encode()
            if libc.mount(b'disk', os.fsencode(folder), b'tmpfs', 0, options):
                sys.exit(CANNOT_MOUNT)
            work(folder)

        code = leave(fork(mounted))
        if code == CANNOT_MOUNT:
            pytest.skip('needs the right to mount a file system')
        assert code == 0

    return run


@pytest.fixture
def run_ranks() -> Callable[[int, Callable[[int], object]], list[int]]:
    """Run a function on several ranks, as under torchrun; return their exit codes."""

    def run(world: int, work: Callable[[int], object]) -> list[int]:
        # The store listens from here on, so that no other process can take its port meanwhile.
        store = torch.distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)

        def one(rank: int) -> None:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world),
                LOCAL_WORLD_SIZE=str(world),
                GROUP_RANK='0',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=str(store.port),
                TORCHELASTIC_RUN_ID='test',
                TORCHELASTIC_RESTART_COUNT='0',
                TORCHELASTIC_USE_AGENT_STORE='True',
            )
            work(rank)

        children = [fork(lambda rank=rank: one(rank)) for rank in range(world)]  # type: ignore[misc]
        return [leave(child) for child in children]

    return run


@pytest.fixture(autouse=True)
def _no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the cost estimate, which takes as long as the rest of a tiny run."""
    monkeypatch.setattr(dry_run, 'estimate_cost', lambda *_: 'cost')


@pytest.fixture
def without_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the evaluation, which takes most of the time of a tiny run, by fixed metrics."""
    scores = {'map50': 0.25, 'coco': {'ap': 0.125}}
    monkeypatch.setattr(loop, 'validate', lambda *_: (scores, []))


@pytest.fixture
def replace_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[..., Any]], None]:
    """Replace the gradient of one step."""

    def arm(step: int, instead: Callable[..., Any]) -> None:
        calls = iter(range(10**6))

        def maybe(*args: Any) -> torch.Tensor:
            if next(calls) == step:
                return instead(forward_backward, *args)
            return forward_backward(*args)

        monkeypatch.setattr(loop, 'forward_backward', maybe)

    return arm
