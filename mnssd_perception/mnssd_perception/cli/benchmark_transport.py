"""Raw images from one process to another: how many are lost, and how late the others come."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import ctypes
from dataclasses import dataclass
import json
import os
import signal
import subprocess
import sys

from mnssd_perception.cli.dds import dds_environment
from mnssd_perception.errors import MnssdError

__all__ = ['main', 'measure', 'TransportFigures']

# The time that a camera gets to start, beyond the time that it plays [s].
START_TIMEOUT = 60.0

# For the last images to arrive, and for a process to end [s].
SETTLING, ENDING = 1.0, 10.0

PR_SET_PDEATHSIG = 1  # from linux/prctl.h

MS = 1000


@dataclass(frozen=True)
class TransportFigures:
    """
    What became of the images of one run.

    :ivar sent: images published.
    :ivar received: of them, how many arrived.
    :ivar rate: at which they were published [Hz], from the stamps of the first and the last that
        arrived; a bound from above where some at the ends were lost.
    :ivar latency_p50: from stamp to callback [s].
    :ivar latency_p95: the same [s].
    """

    sent: int
    received: int
    rate: float
    latency_p50: float
    latency_p95: float

    @property
    def lost(self) -> float:
        """Tell the share that was lost, from 0 to 1."""
        return 1 - self.received / self.sent


def measure(
    size_wh: tuple[int, int], rate: float, seconds: float, env: Mapping[str, str]
) -> TransportFigures:
    """
    Play a synthetic camera to a subscriber that only counts, each a process.

    :param size_wh: of the bgr8 images, pixels.
    :param rate: images a second [Hz].
    :param seconds: how long to play [s].
    :param env: environment of both.
    :return: the figures.
    :raises MnssdError: when one of them fails.
    """
    frames = max(1, round(rate * seconds))
    source = f'synthetic:width={size_wh[0]},height={size_wh[1]},frames={frames}'
    parameters = {'source': source, 'rate': float(rate), 'wait_for_subscribers': 1}
    with _node('image_counter_node', {}, env) as counter:
        with _node('camera_node', parameters, env) as camera:
            _wait(camera, 'camera_node', seconds + START_TIMEOUT)
        # The last images may still be on their way.
        try:
            counter.wait(SETTLING)
        except subprocess.TimeoutExpired:
            counter.send_signal(signal.SIGINT)
        figures = json.loads(_wait(counter, 'image_counter_node', ENDING))
    span = figures.pop('seconds')
    true_rate = (frames - 1) / span if span else 0.0
    return TransportFigures(sent=frames, rate=true_rate, **figures)


@contextmanager
def _node(
    name: str, parameters: Mapping[str, object], env: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run a node as a process that is gone afterwards, whatever happens."""
    settings = [part for pair in parameters.items() for part in ('-p', '{}:={}'.format(*pair))]
    words = ['--ros-args', '--log-level', 'warn', *settings]
    process = subprocess.Popen(
        [sys.executable, '-m', f'mnssd_perception.nodes.{name}', *words],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches us alone
        preexec_fn=_end_with_parent,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone, where the kernel is Linux."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(process: subprocess.Popen[str], name: str, timeout: float) -> str:
    """Wait for the end of a process and return what it printed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise MnssdError(f'expected {name} to end within {timeout:.0f} s, got no end') from error
    if process.returncode:
        last = '\n'.join(errors.strip().splitlines()[-5:])
        raise MnssdError(f'{name} has failed with exit code {process.returncode}:\n{last}')
    return output


def _size(text: str) -> tuple[int, int]:
    """Read a size such as 1280x720."""
    width, _, height = text.lower().partition('x')
    return int(width), int(height)


def _print(title: str, figures: TransportFigures) -> None:
    """Print the figures of one run as a row."""
    print(
        f'{title:<24} {figures.sent:6d} {figures.received:9d} {100 * figures.lost:7.1f} '
        f'{figures.rate:6.1f} {figures.latency_p50 * MS:8.1f} {figures.latency_p95 * MS:8.1f}',
        flush=True,
    )


def main(args: Sequence[str] | None = None) -> int:
    """
    Measure with the shipped Fast DDS profile and with the defaults of Fast DDS.

    :param args: command line, None for that of the process.
    :return: the exit code.
    """
    parser = ArgumentParser(prog='benchmark_transport', description=__doc__)
    parser.add_argument('--size', type=_size, default=(1280, 720), help='of the images: 1280x720')
    parser.add_argument('--rate', type=float, default=30.0, help='images a second: 30')
    parser.add_argument('--seconds', type=float, default=10.0, help='to play in each run: 10')
    options = parser.parse_args(args)
    width, height = options.size
    print(f'{width}x{height} bgr8 at {options.rate:g} Hz, two processes, best effort, depth 1')
    print(f'{"":<24}   sent  received  lost %     Hz   p50 ms   p95 ms', flush=True)
    # An interrupt or a plea to end leaves by way of the `finally` clauses.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for title, profile in (('with our profile', True), ('Fast DDS defaults', False)):
            env = dds_environment(os.environ, profile=profile)
            _print(title, measure(options.size, options.rate, options.seconds, env))
    except KeyboardInterrupt:
        return 130
    except MnssdError as error:
        print(f'benchmark_transport: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
