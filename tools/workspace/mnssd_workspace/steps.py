"""Steps with digests of their inputs to a workspace in which each was done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mnssd_workspace.stamps import digest_texts, is_stamped, remove_stamp, write_stamp

__all__ = ['Step', 'pending_steps', 'run_steps', 'step_digests']


@dataclass(frozen=True)
class Step:
    """
    Describe one step of a setup.

    :param name: of its stamp.
    :param title: what a person reads while it runs.
    :param inputs: digest of everything that it depends on, other steps apart.
    :param action: does it; must succeed whatever an earlier, killed attempt has left behind.
    :param outputs: what must be there for the stamp to count.
    :param needs: names of steps that come first, and whose change makes this one run again.
    :param after: names of steps that only come first.
    :param check: raises what the step would fail of; asked before the first step begins.
    :param space: bytes that it takes on the disk, at most.
    """

    name: str
    title: str
    inputs: str
    action: Callable[[], None]
    outputs: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    check: Callable[[], None] | None = None
    space: int = 0


def step_digests(steps: Sequence[Step]) -> dict[str, str]:
    """
    Digest each step's inputs and those of the steps that it needs.

    :param steps: each after the ones that it needs.
    """
    digests: dict[str, str] = {}
    for step in steps:
        digests[step.name] = digest_texts([step.inputs, *(digests[name] for name in step.needs)])
    return digests


def pending_steps(steps: Sequence[Step], state: Path) -> list[Step]:
    """
    Select the steps that have not been done with their present inputs.

    :param steps: all of them, in order.
    :param state: folder of the stamps.
    """
    digests = step_digests(steps)
    pending: list[Step] = []
    names: set[str] = set()
    for step in steps:
        done = (
            is_stamped(state, step.name, digests[step.name])
            and all(path.exists() for path in step.outputs)
            and names.isdisjoint(step.needs)
        )
        if not done:
            pending.append(step)
            names.add(step.name)
    return pending


def run_steps(
    steps: Sequence[Step],
    state: Path,
    watch: Callable[[Step], Callable[[bool], None]],
    *,
    num_workers: int = 2,
) -> None:
    """
    Do what has not been done, side by side where steps do not wait for each other.

    A stamp is taken back before its step begins and written after it has ended well: whenever
    this is killed, the next run does again what was under way.

    :param steps: all of them, each after the ones that it waits for.
    :param state: folder of the stamps.
    :param watch: told when a step begins; what it returns is told whether it ended well.
    :param num_workers: number of steps at a time.
    :raises WorkspaceError: the first failure, when the steps under way have ended.
    """
    digests = step_digests(steps)
    waiting = pending_steps(steps, state)
    unfinished = {step.name for step in waiting}
    running: dict[Future[None], str] = {}
    failure: BaseException | None = None

    def do(step: Step) -> None:
        ended = watch(step)
        good = False
        try:
            remove_stamp(state, step.name)
            step.action()
            write_stamp(state, step.name, digests[step.name])
            good = True
        finally:
            ended(good)

    pool = ThreadPoolExecutor(num_workers)
    try:
        while waiting or running:
            ready = [s for s in waiting if unfinished.isdisjoint((*s.needs, *s.after))]
            for step in ready if failure is None else []:
                waiting.remove(step)
                running[pool.submit(do, step)] = step.name
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                failure = failure or future.exception()
                if future.exception() is None:
                    unfinished.discard(name)
    finally:
        # Not waiting: what still runs after Ctrl-C ends with this process.
        pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure
