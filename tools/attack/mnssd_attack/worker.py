"""Trials in a process of their own, so that one that dies or hangs is a figure and not the end."""

from collections.abc import Callable, Iterator
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
import tempfile
from time import perf_counter
import traceback
from typing import Any

from mnssd_perception.errors import MnssdError
import numpy as np

from mnssd_attack.outcome import Outcome, Verdict

__all__ = ['Attack', 'judge', 'MakeTarget', 'run_trials']

Attack = Callable[[Any, np.random.Generator], None]
MakeTarget = Callable[[Path], Any]

HANG = 30.0  # seconds, on a busy machine
START = 120.0  # seconds, for loading the network on a busy machine


def run_trials(
    make_target: MakeTarget, attacks: dict[str, Attack], kinds: list[str], seed: int
) -> Iterator[Outcome]:
    """
    Run trials one after the other.

    :param make_target: gets what is attacked ready, in a folder to write damaged files in.
    :param attacks: kind to function.
    :param kinds: of the trials.
    :param seed: makes the same inputs again.
    :return: what came of each.
    :raises RuntimeError: if the process does not even start.
    """
    done = 0
    while done < len(kinds):
        ours, theirs = multiprocessing.Pipe()
        with tempfile.TemporaryDirectory(prefix='mnssd_attack_') as folder:
            process = multiprocessing.get_context('spawn').Process(
                target=_work,
                args=(theirs, make_target, Path(folder), attacks, kinds, seed, done),
                daemon=True,
            )
            process.start()
            theirs.close()
            for outcome in _listen(ours, kinds, done):
                yield outcome
                done += 1
            process.kill()
            process.join()


def _listen(pipe: Connection, kinds: list[str], done: int) -> Iterator[Outcome]:
    """Pass outcomes on until all are done, or until the process dies or is silent for too long."""
    if not pipe.poll(START):
        raise RuntimeError(f'expected the worker to start within {START:.0f} s')
    try:
        pipe.recv()
    except EOFError as error:
        raise RuntimeError('the worker could not start, see above') from error
    for index in range(done, len(kinds)):
        if not pipe.poll(HANG):
            yield Outcome(kinds[index], index, 'hung', HANG, 'no answer')
            return
        try:
            outcome = pipe.recv()
        except EOFError:
            yield Outcome(kinds[index], index, 'crashed', 0.0, 'the process died')
            return
        yield outcome


def _work(
    pipe: Connection,
    make_target: MakeTarget,
    folder: Path,
    attacks: dict[str, Attack],
    kinds: list[str],
    seed: int,
    first: int,
) -> None:
    """Run the trials from one on, and tell of each."""
    target = make_target(folder)
    pipe.send('ready')
    for index in range(first, len(kinds)):
        pipe.send(judge(attacks, target, kinds[index], index, seed))


def judge(attacks: dict[str, Attack], target: Any, kind: str, index: int, seed: int) -> Outcome:
    """
    Run one trial in this process.

    :param attacks: kind to function.
    :param target: what is attacked.
    :param kind: of the trial.
    :param index: of the trial.
    :param seed: makes the same input again.
    :return: what came of it.
    """
    started = perf_counter()
    verdict, words = _try(attacks[kind], target, np.random.default_rng((seed, index)))
    return Outcome(kind, index, verdict, perf_counter() - started, words)


def _try(attack: Attack, target: Any, generator: np.random.Generator) -> tuple[Verdict, str]:
    """Tell what comes of an attack."""
    try:
        attack(target, generator)
    except MnssdError as error:
        return 'refused', str(error)
    except Exception:  # which is what is looked for
        return 'crashed', traceback.format_exc()
    return 'accepted', ''
