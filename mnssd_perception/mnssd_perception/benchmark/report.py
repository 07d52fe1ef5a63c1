"""What a benchmark measured, as text and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
import json
from pathlib import Path

from mnssd_perception.benchmark.host import Host
from mnssd_perception.commands import format_table, write_text
from mnssd_perception.errors import SettingsError
from mnssd_perception.serialization import from_plain, to_plain
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import ArrayLike

FORMAT = 1  # of the JSON file
MAX_BYTES = 1 << 26
STAGES = ('resize', 'infer', 'postprocess', 'total')


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of the time of a frame, ms."""

    p25: float
    p50: float
    p75: float
    p95: float
    p99: float

    @staticmethod
    def of(milliseconds: ArrayLike) -> 'Percentiles':
        """Compute them; of nothing, they are 0."""
        values = np.asarray(milliseconds, float)
        percent = (25, 50, 75, 95, 99)
        times = np.percentile(values, percent) if len(values) else np.zeros(len(percent))
        return Percentiles(*(round(float(time), 4) for time in times))


@dataclass(frozen=True)
class WarmUp:
    """
    The time before the steady state.

    :ivar load_s: until the engine is open, s.
    :ivar first_ms: time of the first frame, ms; of the first batch for batches.
    :ivar p50_ms: median time of the other frames of the warm-up, ms.
    """

    load_s: float
    first_ms: float
    p50_ms: float


@dataclass(frozen=True)
class Run:
    """
    One network in one engine, in steady state.

    :ivar engine: name of the engine.
    :ivar precision: of the network, as the manifest says.
    :ivar description: engine, version, precision that really runs, and hardware, as the engine
        reports them.
    :ivar threads: as requested; 0 lets the engine choose.
    :ivar batch: images that the engine gets at once.
    :ivar path: file of the network in the bundle.
    :ivar stages: of ``STAGES``, time of a frame; the time of a batch is shared by its frames.
    :ivar frames_per_second: without pauses between frames.
    :ivar drift: median of the last quarter of the frames over that of the first.
    :ivar cpu_cores: CPU time over time; 1.0 is one busy core.
    :ivar loaded_mib: memory that the engine took until the end of the warm-up, MiB; None if
        unknown.
    :ivar growth_mib: memory that the steady state added, MiB; None if unknown.
    :ivar power_w: mean power of the whole machine during this run by rail, W; empty without
        sensors.
    :ivar temperature_c: highest temperature by zone, degrees Celsius; empty without sensors.
    :ivar total_ms: time of each frame in order, or of each batch shared by its frames, ms.
    """

    engine: str
    precision: str
    description: str
    threads: int
    batch: int
    path: str
    warm_up: WarmUp
    stages: dict[str, Percentiles]
    frames_per_second: float
    drift: float
    cpu_cores: float
    loaded_mib: float | None
    growth_mib: float | None
    power_w: dict[str, float]
    temperature_c: dict[str, float]
    total_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if set(self.stages) != set(STAGES):
            raise SettingsError(f'stages: expected {STAGES}, got {tuple(self.stages)}')

    @property
    def name(self) -> str:
        """Engine, precision, threads and batch."""
        threads = f'{self.threads} threads' if self.threads > 1 else f'{self.threads} thread'
        batch = f', batch {self.batch}' if self.batch > 1 else ''
        return f'{self.engine} {self.precision}, {threads if self.threads else "auto"}{batch}'


@dataclass(frozen=True)
class Report:
    """
    The runs of one benchmark, which took turns on the same machine.

    :ivar bundle: name and version of the model.
    :ivar digest: of the bundle.
    :ivar images: what was detected in.
    :ivar not_measured: networks that could not be run, with the reason.
    :ivar peak_mib: memory of the process with all engines, MiB; None if unknown.
    """

    format: int
    bundle: str
    digest: str
    images: str
    host: Host
    runs: tuple[Run, ...]
    not_measured: tuple[str, ...]
    peak_mib: float | None


def write_report(path: Path, report: Report) -> None:
    """
    Write a report as JSON.

    :raises MnssdError: if the file cannot be written.
    """
    write_text(path, json.dumps(to_plain(report), indent=1) + '\n')


def read_report(path: Path) -> Report:
    """
    Read a report that :func:`write_report` wrote.

    :raises SettingsError: naming what is wrong with the file.
    """
    try:
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingsError(f"'{path}': expected at most {MAX_BYTES} bytes")
        plain = json.loads(content)
    except OSError as error:
        raise SettingsError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"'{path}' is not JSON: {error}") from error
    version = plain.get('format') if isinstance(plain, dict) else None
    if version != FORMAT:
        raise SettingsError(
            f"'{path}': expected the JSON file of a benchmark in format {FORMAT}, got "
            f'{sanitize_text(repr(version), 60)}'
        )
    try:
        return from_plain(Report, plain, SettingsError)
    except SettingsError as error:
        raise SettingsError(f"'{path}': {sanitize_text(error, 500)}") from error


def format_report(report: Report) -> str:
    """Describe a report in text for a terminal; ratios are to the first run."""
    return '\n'.join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    host = report.host
    yield f'{report.bundle}, {report.digest[:19]}, {report.images}'
    yield (
        f'{host.machine + ", " if host.machine else ""}{host.cpu}, {host.architecture}, '
        f'{host.num_cores} cores, governor {", ".join(host.governors) or "unknown"}, '
        f'{host.memory_mib} MiB; {host.system}; '
        + ', '.join(f'{name} {version}' for name, version in host.packages.items())
    )
    if host.load > 0.3:
        yield f'warning: the machine was busy at the start, load {host.load:.1f}; expect noise'
    yield ''
    header = (
        'run', 'p50 ms', 'p95', 'p99', 'ratio', 'resize', 'infer', 'post', 'frames/s', 'cores',
        'load s', 'first ms', 'warm p50', 'drift', 'MiB', 'growth',
    )  # fmt: skip
    yield format_table(header, [_row(run, report.runs[0]) for run in report.runs])
    yield ''
    for number, run in enumerate(report.runs):
        power = ', '.join(f'{rail} {watts:.2f} W' for rail, watts in run.power_w.items())
        heat = ', '.join(f'{zone} {value:.0f}' for zone, value in run.temperature_c.items())
        yield f'{run.name}: {run.description}; {run.path}'
        if number == 0 or power or heat:
            yield (
                f'  power: {power or "no readable sensor"}; '
                f'highest temperature, degrees C: {heat or "no readable sensor"}'
            )
    for line in report.not_measured:
        yield f'not measured: {line}'
    peak = 'unknown' if report.peak_mib is None else f'{report.peak_mib:.0f} MiB'
    yield f'peak memory of the process with all engines: {peak}'


def _row(run: Run, first: Run) -> tuple[object, ...]:
    stages, warm_up = run.stages, run.warm_up
    total = stages['total']
    return (
        run.name,
        *(f'{value:.2f}' for value in (total.p50, total.p95, total.p99)),
        f'{total.p50 / max(first.stages["total"].p50, 1e-9):.2f}',
        *(f'{stages[name].p50:.2f}' for name in STAGES[:3]),
        f'{run.frames_per_second:.1f}',
        f'{run.cpu_cores:.2f}',
        f'{warm_up.load_s:.2f}',
        f'{warm_up.first_ms:.1f}',
        f'{warm_up.p50_ms:.2f}',
        f'{run.drift:.2f}',
        *('-' if mib is None else f'{mib:.0f}' for mib in (run.loaded_mib, run.growth_mib)),
    )
