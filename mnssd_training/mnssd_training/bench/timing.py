"""Functions to medians, measured in turns so that a noisy moment hits all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import statistics
from time import perf_counter

__all__ = ['measure', 'Timing']


@dataclass(frozen=True)
class Timing:
    """
    How long something took, seconds.

    :ivar median: of the rounds.
    :ivar best: of the rounds.
    """

    median: float
    best: float

    def __str__(self) -> str:
        """Show milliseconds."""
        return f'{self.median * 1e3:8.3f} ({self.best * 1e3:.3f}) ms'


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
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            started = clock()
            function()
            times[name].append(clock() - started)
    return {name: Timing(statistics.median(each), min(each)) for name, each in times.items()}
