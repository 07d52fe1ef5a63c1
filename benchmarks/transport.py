"""
Measure how many raw images are lost between two processes, and the latency of the others.

A synthetic camera publishes to this process with each of our Fast DDS profiles and with the
defaults. Run ``python -m benchmarks.transport`` in the root folder of the repository.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
import os
from pathlib import Path
import signal
import subprocess
import sys
from tempfile import TemporaryDirectory
import time

from mnssd_perception.cli.child_nodes import ChildNode, ChildNodes
from mnssd_perception.cli.environment import find_profile, isolated_environ, PROFILE_VARIABLES
from mnssd_perception.errors import MnssdError
import numpy as np

# The time that the camera gets to start, beyond the time that it plays [s].
START_TIMEOUT = 60.0

SETTLE_TIME = 1.0  # for the last images to arrive [s]

NS, MS = 10**9, 1000

HEADINGS = ('', 'sent', 'received', 'lost %', 'at start', 'Hz', 'p50 ms', 'p95 ms')
PROFILES = {
    'fastdds.xml': 'fastdds.xml',
    'fastdds_4k.xml': 'fastdds_4k.xml',
    '': 'Fast DDS defaults',
}


@dataclass(frozen=True)
class TransportStats:
    """
    The result of one run.

    :ivar sent: number of images published.
    :ivar late_start: lost images before the first that arrived: discovery had not finished.
    :ivar rate: between the first and the last that arrived, including lost ones [Hz].
    :ivar latency_p50: from stamp to callback [s].
    """

    sent: int
    received: int
    late_start: int
    rate: float
    latency_p50: float
    latency_p95: float

    @property
    def lost(self) -> float:
        """The fraction that was lost."""
        return 1 - self.received / self.sent


def compute_stats(
    stamps_ns: Sequence[int], arrivals_ns: Sequence[int], sent: int, rate: float
) -> TransportStats:
    """
    Compare the images that arrived with those that were sent.

    :param stamps_ns: of the images that arrived, in order [ns].
    :param rate: of the camera [Hz]; determines how many images are missing in a gap.
    """
    latencies = (np.array(arrivals_ns, np.int64) - np.array(stamps_ns, np.int64)) / NS
    gaps = [(after - before) / NS for before, after in pairwise(stamps_ns)]
    num_between = len(gaps) + sum(max(0, round(gap * rate) - 1) for gap in gaps)
    p50, p95 = np.percentile(latencies, [50, 95]) if len(latencies) else (0.0, 0.0)
    return TransportStats(
        sent=sent,
        received=len(stamps_ns),
        late_start=max(0, sent - num_between - 1) if stamps_ns else sent,
        rate=num_between / sum(gaps) if gaps else 0.0,
        latency_p50=float(p50),
        latency_p95=float(p95),
    )


def measure(size_wh: tuple[int, int], rate: float, seconds: float) -> TransportStats:
    """
    Subscribe to a synthetic camera in a child process, in the environment of this process.

    :param size_wh: of the bgr8 images [pixels].
    :raises MnssdError: when the camera fails.
    """
    sent = max(1, round(rate * seconds))
    source = f'synthetic:width={size_wh[0]},height={size_wh[1]},frames={sent}'
    parameters = {'source': source, 'rate': float(rate), 'wait_for_subscribers': 1}
    stamps_ns: list[int] = []
    arrivals_ns: list[int] = []
    with TemporaryDirectory() as folder, ChildNodes() as nodes:
        # Before this process has threads of DDS: a fork with threads is not safe.
        camera = nodes.add(
            ChildNode('camera_node', parameters, os.environ, Path(folder) / 'camera.log')
        )
        from mnssd_perception.ros import qos
        from mnssd_perception.ros.spin import keep_freed_memory
        import rclpy
        from rclpy.time import Time
        from sensor_msgs.msg import Image

        def on_image(msg: Image) -> None:
            arrivals_ns.append(node.get_clock().now().nanoseconds)
            stamps_ns.append(Time.from_msg(msg.header.stamp).nanoseconds)

        keep_freed_memory()  # as the nodes do
        rclpy.init(args=[])
        node = rclpy.create_node('image_counter')
        node.create_subscription(Image, 'image', on_image, qos.image_in())
        deadline = time.monotonic() + seconds + START_TIMEOUT
        while camera.exit_code is None:
            rclpy.spin_once(node, timeout_sec=0.1)
            if time.monotonic() > deadline:
                raise MnssdError(f'the camera did not end in time:\n{camera.read_log()}')
        if camera.exit_code:
            raise MnssdError(f'the camera failed with {camera.exit_code}:\n{camera.read_log()}')
        deadline = time.monotonic() + SETTLE_TIME
        while time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        node.destroy_node()
        rclpy.shutdown()
    return compute_stats(stamps_ns, arrivals_ns, sent, rate)


def _make_environ(profile: str) -> dict[str, str]:
    """Prepare the environment of a run, with one of our Fast DDS profiles or '' for none."""
    plain = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    if not profile:
        return isolated_environ(plain, profile=False)
    path = find_profile(plain, profile)
    # Without this check a run without the profile could pass for one with it.
    if path is None:
        raise MnssdError(f'config/{profile} is not installed; run `make setup` again')
    return isolated_environ(plain | dict.fromkeys(PROFILE_VARIABLES, str(path)))


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentTypeError(f"expected a size such as 1280x720, got '{text}'")
    return int(width), int(height)


def _parse_positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float('inf'):
        raise ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return number


def _format_row(*cells: str) -> str:
    return f'{cells[0]:<18}' + ''.join(f'{cell:>10}' for cell in cells[1:])


def _print_stats(profile: str, stats: TransportStats) -> None:
    cells = (
        PROFILES[profile],
        f'{stats.sent}',
        f'{stats.received}',
        f'{100 * stats.lost:.1f}',
        f'{stats.late_start}',
        f'{stats.rate:.1f}',
        f'{stats.latency_p50 * MS:.1f}',
        f'{stats.latency_p95 * MS:.1f}',
    )
    print(_format_row(*cells), flush=True)


def _parse(args: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog='benchmarks.transport', description=__doc__)
    parser.add_argument(
        '--size', type=_parse_size, default=(1280, 720), help='of the images; default: 1280x720'
    )
    parser.add_argument('--rate', type=_parse_positive, default=30.0, help='Hz; default: 30')
    parser.add_argument(
        '--seconds', type=_parse_positive, default=10.0, help='of each run; default: 10'
    )
    parser.add_argument('--profile', choices=PROFILES, help='measure only with this profile')
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    """Measure with each profile, in a process of its own, and return the exit code."""
    options = _parse(args)
    width, height = options.size
    # SIGTERM is handled like Ctrl-C, which leaves no child behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.profile is not None:
            stats = measure(options.size, options.rate, options.seconds)
            _print_stats(options.profile, stats)
            return 0
        print(f'{width}x{height} bgr8 at {options.rate:g} Hz, two processes, best effort, depth 1')
        print(_format_row(*HEADINGS), flush=True)
        given = ('--size', f'{width}x{height}', '--rate', f'{options.rate}')
        command = [sys.executable, '-m', 'benchmarks.transport', *given]
        command += ['--seconds', f'{options.seconds}', '--profile']
        for profile in PROFILES:
            ran = subprocess.run([*command, profile], env=_make_environ(profile), check=False)
            if ran.returncode:
                return ran.returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except MnssdError as error:
        print(f'benchmarks.transport: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
