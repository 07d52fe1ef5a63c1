"""Raw images from one process to another: how many are lost, and how late the others come."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
import json
import os
from pathlib import Path
import signal
import sys
from tempfile import TemporaryDirectory
import time

from mnssd_perception.cli.children import Child, Children
from mnssd_perception.cli.graph import isolated_environ, profile_path, PROFILE_VARIABLES
from mnssd_perception.errors import MnssdError
from mnssd_perception.latency import LatencyWindow

# The time that the nodes get to start, beyond the time that the camera plays [s].
START_TIMEOUT = 60.0

# For the last images to arrive [s], and how often a child is looked at [s].
SETTLING = 1.0
POLL = 0.1

NS, MS = 10**9, 1000

HEADINGS = ('', 'sent', 'received', 'lost %', 'at start', 'Hz', 'p50 ms', 'p95 ms')


@dataclass(frozen=True)
class TransportFigures:
    """
    What became of the images of one run.

    :ivar sent: images published.
    :ivar received: of them, how many arrived.
    :ivar late_start: of the lost ones, how many came before the first that arrived: the two ends
        had not found each other yet.
    :ivar rate: between the first and the last that arrived, with those lost between [Hz].
    :ivar latency_p50: from stamp to callback [s].
    :ivar latency_p95: the same [s].
    """

    sent: int
    received: int
    late_start: int
    rate: float
    latency_p50: float
    latency_p95: float

    @property
    def lost(self) -> float:
        """Tell the share that was lost, from 0 to 1."""
        return 1 - self.received / self.sent


def sum_up(
    stamps_ns: Sequence[int], arrivals_ns: Sequence[int], sent: int, rate: float
) -> TransportFigures:
    """
    Compare what arrived with what was sent.

    :param stamps_ns: of the images that arrived, in order [ns].
    :param arrivals_ns: when each of them arrived [ns].
    :param sent: how many were sent.
    :param rate: at which they were sent [Hz]; tells how many are missing in a gap.
    :return: the figures.
    """
    latencies = LatencyWindow(max(1, len(stamps_ns)))
    for stamp, arrival in zip(stamps_ns, arrivals_ns):
        latencies.add((arrival - stamp) / NS)
    gaps = [(after - before) / NS for before, after in pairwise(stamps_ns)]
    between = len(gaps) + sum(max(0, round(gap * rate) - 1) for gap in gaps)
    return TransportFigures(
        sent=sent,
        received=len(stamps_ns),
        late_start=max(0, sent - between - 1) if stamps_ns else sent,
        rate=between / sum(gaps) if gaps else 0.0,
        latency_p50=latencies.percentile(50),
        latency_p95=latencies.percentile(95),
    )


def measure(
    size_wh: tuple[int, int], rate: float, seconds: float, environ: Mapping[str, str]
) -> TransportFigures:
    """
    Play a synthetic camera to a subscriber that only counts, each a process.

    :param size_wh: of the bgr8 images, pixels.
    :param rate: images a second [Hz].
    :param seconds: how long to play [s].
    :param environ: of both processes.
    :return: the figures.
    :raises MnssdError: when one of them fails.
    """
    sent = max(1, round(rate * seconds))
    source = f'synthetic:width={size_wh[0]},height={size_wh[1]},frames={sent}'
    play = {'source': source, 'rate': float(rate), 'wait_for_subscribers': 1}
    with TemporaryDirectory() as folder, Children() as children:
        log = Path(folder)
        counter = children.add(Child('image_counter_node', {}, environ, log / 'counter.log'))
        camera = children.add(Child('camera_node', play, environ, log / 'camera.log'))
        deadline = time.monotonic() + seconds + START_TIMEOUT
        while camera.code is None:
            _check(children)
            if time.monotonic() > deadline:
                raise MnssdError(f'the camera did not end in time:\n{camera.last_words()}')
            time.sleep(POLL)
        _check(children)
        time.sleep(SETTLING)
        counter.end()
        _check(children)
        return sum_up(**_times(log / 'counter.log'), sent=sent, rate=rate)


def _check(children: Children) -> None:
    """Report a child that has failed."""
    child = children.failed()
    if child is not None:
        raise MnssdError(f'{child.name} ended with code {child.code}:\n{child.last_words()}')


def _times(log: Path) -> dict[str, list[int]]:
    """Find the line of the counter among what else was said."""
    lines = [line for line in log.read_text().splitlines() if line.startswith('{')]
    if not lines:
        raise MnssdError(f'the counter has not said what it counted:\n{log.read_text()}')
    return json.loads(lines[-1])


def _environ(profile: str) -> dict[str, str]:
    """Prepare the environment of a run, with one of our profiles of Fast DDS or '' for none."""
    plain = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    if not profile:
        return isolated_environ(plain, profile=False)
    path = profile_path(plain, profile)
    # Without this check a run without the profile could pass for one with it.
    if path is None:
        raise MnssdError(f'config/{profile} is not installed; run `make setup` again')
    return isolated_environ(plain | dict.fromkeys(PROFILE_VARIABLES, str(path)))


def _size(text: str) -> tuple[int, int]:
    """Read a size such as 1280x720."""
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentTypeError(f"expected a size such as 1280x720, got '{text}'")
    return int(width), int(height)


def _positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float('inf'):
        raise ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return number


def _row(*cells: str) -> str:
    """Write a row of the table."""
    return f'{cells[0]:<18}' + ''.join(f'{cell:>10}' for cell in cells[1:])


def _cells(figures: TransportFigures) -> list[str]:
    """Write the figures of a run."""
    return [
        f'{figures.sent}',
        f'{figures.received}',
        f'{100 * figures.lost:.1f}',
        f'{figures.late_start}',
        f'{figures.rate:.1f}',
        f'{figures.latency_p50 * MS:.1f}',
        f'{figures.latency_p95 * MS:.1f}',
    ]


def main(args: Sequence[str] | None = None) -> int:
    """
    Measure with the shipped profiles of Fast DDS and with its defaults.

    :param args: command line, None for that of the process.
    :return: the exit code.
    """
    parser = ArgumentParser(prog='benchmark_transport', description=__doc__)
    parser.add_argument('--size', type=_size, default=(1280, 720), help='of the images: 1280x720')
    parser.add_argument('--rate', type=_positive, default=30.0, help='images a second: 30')
    parser.add_argument('--seconds', type=_positive, default=10.0, help='of each run: 10')
    options = parser.parse_args(args)
    width, height = options.size
    # A plea to end takes the way of Ctrl-C, which leaves no child behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f'{width}x{height} bgr8 at {options.rate:g} Hz, two processes, best effort, depth 1')
        print(_row(*HEADINGS), flush=True)
        for profile in ('fastdds.xml', 'fastdds_4k.xml', ''):
            environ = _environ(profile)
            figures = measure(options.size, options.rate, options.seconds, environ)
            print(_row(profile or 'Fast DDS defaults', *_cells(figures)), flush=True)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except MnssdError as error:
        print(f'benchmark_transport: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
