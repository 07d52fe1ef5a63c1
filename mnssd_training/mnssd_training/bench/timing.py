"""Functions to medians, measured in turns so that a noisy moment hits all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from resource import getrusage, RUSAGE_CHILDREN
import statistics
from time import perf_counter, process_time


@dataclass(frozen=True)
class Timing:
    """
    How long something took, seconds.

    :ivar median: of the rounds.
    :ivar best: of the rounds.
    :ivar cpu: time of all cores, median of the rounds; hardly changes with what else runs.
    """

    median: float
    best: float
    cpu: float

    def __str__(self) -> str:
        """Show milliseconds."""
        times = f'{self.median * 1e3:8.3f} ({self.best * 1e3:.3f}) ms'
        return f'{times}, CPU {self.cpu * 1e3:.3f} ms'


def measure(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Timing]:
    """
    Time functions against each other.

    :param functions: name to what is timed.
    :param rounds: in each round every function runs once.
    :param clock: gives seconds; ``thread_time`` leaves out what other processes take.
    :return: name to timing.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            started, cpu_started = clock(), _cpu_time()
            function()
            times[name].append((clock() - started, _cpu_time() - cpu_started))
    return {
        name: Timing(statistics.median(wall), min(wall), statistics.median(cpu))
        for name, (wall, cpu) in ((name, tuple(zip(*each))) for name, each in times.items())
    }


def _cpu_time() -> float:
    """Add up the time of this process and of its children that have ended, seconds."""
    children = getrusage(RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime
