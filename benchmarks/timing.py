"""Time functions against each other, in turns so that a noisy moment hits all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from resource import getrusage, RUSAGE_CHILDREN
import statistics
from time import perf_counter, process_time, sleep


@dataclass(frozen=True)
class Timing:
    """Durations over the rounds, seconds; ``cpu`` is the median over all cores and children."""

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
    pause: float = 0.0,
) -> dict[str, Timing]:
    """
    Time each function once per round, after one untimed call.

    :param clock: returns seconds; ``thread_time`` excludes other processes.
    :param pause: before each call, seconds: threads that spin for work after the last call would
        take a core from this one.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            sleep(pause)
            start, cpu_start = clock(), _cpu_time()
            function()
            times[name].append((clock() - start, _cpu_time() - cpu_start))
    timings = {}
    for name, rows in times.items():
        wall, cpu = zip(*rows)
        timings[name] = Timing(statistics.median(wall), min(wall), statistics.median(cpu))
    return timings


def _cpu_time() -> float:
    """Sum the CPU time of this process and of its children that have ended."""
    children = getrusage(RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime
