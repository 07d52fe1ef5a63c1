"""
Measure networks side by side.

All engines are opened first. Then they take turns of a few frames, so that a noisy moment, a hot
processor and a falling clock hit all of them alike, and ratios within a report can be trusted
more than its milliseconds. The frames of a turn follow each other without a pause, as those of a
detector that cannot keep up; a camera that leaves pauses costs less power and more wake-ups.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time

from mnssd_perception.benchmark.host import describe_host
from mnssd_perception.benchmark.report import FORMAT, Percentiles, Report, Run, STAGES, WarmUp
from mnssd_perception.benchmark.sensors import read_memory, read_power, read_temperatures
from mnssd_perception.bundle import Bundle
from mnssd_perception.detector import Detector, StageTimings
from mnssd_perception.engines import (
    Candidate,
    EngineOptions,
    ENGINES,
    list_candidates,
    open_engine,
)
from mnssd_perception.errors import EngineError, EngineUnavailableError, MnssdError, SettingsError
from mnssd_perception.self_test import run_self_test
import numpy as np
from numpy.typing import NDArray

Images = Sequence[NDArray[np.uint8]]

TURN = 10  # batches of one engine before the next takes its turn


@dataclass(frozen=True)
class BenchmarkOptions:
    """
    How much to measure.

    :ivar batch: images that an engine gets at once, 1 to 256.
    :ivar num_frames: of each run in steady state, from 4 batches to 10**6.
    :ivar num_warm_up: frames of each run before that, 1 to 10**6.
    """

    batch: int = 1
    num_frames: int = 200
    num_warm_up: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 256:
            raise SettingsError(f'batch: expected 1 to 256, got {self.batch}')
        if not 4 * self.batch <= self.num_frames <= 10**6:
            raise SettingsError(
                f'frames: expected {4 * self.batch} to {10**6} with batches of {self.batch}, '
                f'got {self.num_frames}'
            )
        if not 1 <= self.num_warm_up <= 10**6:
            raise SettingsError(f'warmup: expected 1 to {10**6}, got {self.num_warm_up}')


@dataclass
class Subject:
    """An engine that takes part, with its measurements so far; of each batch where lists."""

    candidate: Candidate
    threads: int
    detector: Detector
    batch: int
    warm_up: WarmUp
    loaded_mib: float | None
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    wall_s: float = 0.0
    cpu_s: float = 0.0
    growth_mib: float | None = 0.0
    power_w: dict[str, list[float]] = field(default_factory=dict)
    temperature_c: dict[str, float] = field(default_factory=dict)

    def take_turn(self, images: Images, num_batches: int) -> None:
        """Detect in some batches, and look at the sensors after them."""
        memory, cpu, started = read_memory('VmRSS'), process_time(), perf_counter()
        for _ in range(num_batches):
            start = len(self.stages['total']) * self.batch
            batch = [images[(start + offset) % len(images)] for offset in range(self.batch)]
            timings = _detect(self.detector, batch)
            for name in STAGES:
                self.stages[name].append(getattr(timings, name) * 1000 / self.batch)
        self.wall_s += perf_counter() - started
        self.cpu_s += process_time() - cpu
        self.growth_mib = _add(self.growth_mib, _subtract(read_memory('VmRSS'), memory))
        for rail, watts in read_power().items():
            self.power_w.setdefault(rail, []).append(watts)
        for zone, value in read_temperatures().items():
            self.temperature_c[zone] = max(value, self.temperature_c.get(zone, value))

    def summarise(self) -> Run:
        """Summarise the steady state."""
        total = self.stages['total']
        quarter = len(total) // 4
        return Run(
            self.candidate.engine,
            self.candidate.artefact.precision,
            str(self.detector.engine.info),
            self.threads,
            self.batch,
            self.candidate.artefact.path,
            self.warm_up,
            {name: Percentiles.of(times) for name, times in self.stages.items()},
            round(len(total) * self.batch / self.wall_s, 3),
            round(float(np.median(total[-quarter:]) / np.median(total[:quarter])), 4),
            round(self.cpu_s / self.wall_s, 3),
            self.loaded_mib,
            self.growth_mib,
            {rail: round(float(np.mean(watts)), 3) for rail, watts in self.power_w.items()},
            self.temperature_c,
            tuple(round(time, 4) for time in total),
        )


def find_candidates(
    bundle: Bundle,
    engine: str = 'auto',
    precision: str = '',
    *,
    batch: int = 1,
    tries_all: bool = False,
) -> list[Candidate]:
    """
    List the networks to measure.

    :param batch: for more than one image, networks with a batch dimension, where the bundle has
        them.
    :param tries_all: also engines and precisions that ``auto`` would never choose.
    :raises MnssdError: see :func:`mnssd_perception.engines.list_candidates`.
    """
    if tries_all:
        candidates = [
            Candidate(name, item)
            for name in (ENGINES if engine == 'auto' else (engine,))
            for item in bundle.manifest.artefacts
            if item.engine == name.partition(':')[0] and precision in ('', item.precision)
        ]
        wanted = [item for item in candidates if item.artefact.has_batch == (batch > 1)]
        if wanted := wanted or [item for item in candidates if not item.artefact.has_batch]:
            return wanted
    if batch > 1:
        with suppress(EngineError):  # a single image at a time, then
            return list_candidates(bundle, engine, precision, has_batch=True)
    return list_candidates(bundle, engine, precision)


def open_subjects(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    threads: Sequence[int],
    images: Images,
    options: BenchmarkOptions,
    engine_options: EngineOptions,
    *,
    tries_all: bool = False,
) -> tuple[list[Subject], list[str]]:
    """
    Open engines, warm them up and compare them with the golden frames of the bundle.

    :param threads: numbers of CPU threads, each of which makes a subject of its own.
    :param tries_all: open every candidate, not only the first that works.
    :return: the subjects, and why the other candidates are not among them.
    """
    subjects: list[Subject] = []
    problems: list[str] = []
    for candidate in candidates:
        try:
            for num in threads:
                thread_options = replace(engine_options, threads=num)
                subjects.append(_open(bundle, candidate, thread_options, images, options))
        except EngineUnavailableError as error:  # whatever the precision
            problems.append(f'{candidate.engine}: {error.reason}')
        except MnssdError as error:
            problems.append(f'{candidate}: {error}')
        if subjects and not tries_all:
            break
    return subjects, list(dict.fromkeys(problems))


def run_benchmark(
    bundle: Bundle,
    subjects: Sequence[Subject],
    images: Images,
    options: BenchmarkOptions,
    *,
    images_name: str,
    not_measured: Sequence[str] = (),
) -> Report:
    """
    Let the subjects take turns, close them, and report.

    :raises MnssdError: if an engine fails.
    """
    host = describe_host()
    num_batches = options.num_frames // options.batch
    try:
        for done in range(0, num_batches, TURN):
            for subject in subjects:
                subject.take_turn(images, min(TURN, num_batches - done))
    finally:
        for subject in subjects:
            subject.detector.engine.close()
    return Report(
        FORMAT,
        f'{bundle.name} {bundle.version}',
        bundle.digest,
        images_name,
        host,
        tuple(subject.summarise() for subject in subjects),
        tuple(not_measured),
        read_memory('VmHWM'),
    )


def _open(
    bundle: Bundle,
    candidate: Candidate,
    engine_options: EngineOptions,
    images: Images,
    options: BenchmarkOptions,
) -> Subject:
    memory, started = read_memory('VmRSS'), perf_counter()
    artefact = candidate.artefact
    engine = open_engine(
        bundle,
        candidate.engine,
        engine_options,
        artefact.precision,
        has_batch=artefact.has_batch,
    )
    load_s = perf_counter() - started
    try:
        detector = Detector(engine, bundle.manifest.thresholds)
        times = []
        for start in range(0, options.num_warm_up, options.batch):
            batch = [images[(start + offset) % len(images)] for offset in range(options.batch)]
            times.append(_detect(detector, batch).total * 1000)
        run_self_test(bundle, engine)
    except BaseException:
        engine.close()
        raise
    p50 = float(np.median(times[1:] or times)) / options.batch
    warm_up = WarmUp(round(load_s, 4), round(times[0], 4), round(p50, 4))
    loaded = _subtract(read_memory('VmRSS'), memory)
    return Subject(candidate, engine_options.threads, detector, options.batch, warm_up, loaded)


def _detect(detector: Detector, batch: Images) -> StageTimings:
    """Detect as the node does in a single image, and as a server does in several."""
    if len(batch) == 1:
        return detector.detect_timed(batch[0])[1]
    return detector.detect_batch_timed(batch)[1]


def _add(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _subtract(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second
