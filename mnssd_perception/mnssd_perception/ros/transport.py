"""
Detect that large images do not arrive in other processes.

Fast DDS transfers them in shared memory. Where it cannot create its segment, as in a container
with a small ``/dev/shm``, it falls back to UDP, or to a segment of 0.5 MB where discovery is
limited to this machine, and says so only on stderr. Most images are then lost, as are images that
do not fit into the segment. Measurements: docs/transport.md.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import fcntl
from pathlib import Path
import re
import shutil
import time

from mnssd_perception.ros.diagnostics import Condition, WARN
import numpy as np
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image

FAST_DDS = 'rmw_fastrtps'  # the only middleware that our profiles configure

# Our profiles and their segments [bytes]; Fast DDS adds some overhead.
PROFILES = {'fastdds.xml': 16 * 2**20, 'fastdds_4k.xml': 64 * 2**20}
OVERHEAD = 1.05
LARGE_BYTES = 2**16  # smaller messages also arrive over UDP
SHM = Path('/dev/shm')
OPEN_FILES = Path('/proc/self/fd')

# The lock file of a segment of Fast DDS 2 or 3, locked as long as the owner of the segment lives.
# A process that has just created one may not have locked it yet [s].
SEGMENT_LOCK = re.compile(r'((?:fastrtps|fastdds)_[0-9a-f]{8,})_el')
LOCKING_TIME = 5.0
MB = 10**6
NS = 10**9

# A longer gap between stamps, or a longer silence, means a camera that was stopped [s].
MAX_GAP = 10.0

# The loss is estimated from this many intervals; fewer intervals or lost images than MIN_SAMPLES
# are not significant. Jitter makes intervals up to this much longer than the period.
WINDOW, MIN_SAMPLES, JITTER = 60, 5, 1.75

# How far an interval may be from a multiple of the period [periods], at least and as a fraction of
# a long interval, in which the delays of a busy camera add up; and the fraction of intervals that
# must be this close.
MULTIPLE, DRIFT, REGULAR = 0.2, 0.1, 0.8

TOLERATED_LOSS = 0.1  # a loaded machine loses an image now and then, which only the counters show


@dataclass(frozen=True)
class SharedMemory:
    """The shared memory of this process."""

    segment: int  # size of its Fast DDS segment [bytes]; 0 for none
    free: int  # in /dev/shm [bytes]


def read_shared_memory(rmw: str) -> SharedMemory | None:
    """
    Look up the shared memory of this process, after a node was created.

    :return: None with another middleware than Fast DDS, or where this cannot be determined.
    """
    if not (rmw.startswith(FAST_DDS) and SHM.is_dir() and OPEN_FILES.is_dir()):
        return None
    sizes = [0]
    for descriptor in OPEN_FILES.iterdir():
        # Other threads open and close files meanwhile.
        with suppress(OSError):
            path = descriptor.readlink()
            lock = SEGMENT_LOCK.fullmatch(path.name)
            if lock and path.parent == SHM:
                sizes.append((SHM / lock[1]).stat().st_size)
    return SharedMemory(segment=max(sizes), free=shutil.disk_usage(SHM).free)


def shared_memory_conditions(
    memory: SharedMemory | None, sent_bytes: int, received_bytes: int = 0
) -> list[Condition]:
    """
    Explain why images between processes get lost, if the shared memory does not suffice.

    :param sent_bytes: size of the images that this process publishes; 0 for none.
    :param received_bytes: size of the images that it subscribes to; 0 for none.
    """
    image_bytes = max(sent_bytes, received_bytes)
    if memory is None or image_bytes < LARGE_BYTES:
        return []
    if not memory.segment:
        problem = 'no shared memory: images go over UDP, where best effort loses most'
    elif sent_bytes > memory.segment:
        problem = (
            f'images of {sent_bytes / MB:.1f} MB exceed the shared memory '
            f'({memory.segment / MB:.1f} MB) and most are lost'
        )
    else:
        return []
    name = 'fastdds.xml' if image_bytes <= PROFILES['fastdds.xml'] else 'fastdds_4k.xml'
    needed = PROFILES[name] * OVERHEAD
    if memory.free < needed:
        hint = (
            f'/dev/shm has {memory.free / MB:.0f} MB free, a process needs {needed / MB:.0f}: '
            'docker run --shm-size=256m, or mount -o remount,size=256m /dev/shm'
        )
    else:
        hint = (
            f'set FASTRTPS_ or FASTDDS_DEFAULT_PROFILES_FILE to config/{name} of mnssd_perception'
        )
    return [Condition('shared_memory', WARN, f'{problem}; {hint}')]


def remove_dead_segments() -> int:
    """
    Remove the shared memory of killed processes, and return the number of segments.

    Fast DDS itself never does; its tool ``fastdds shm clean`` finds dead segments in the same way.
    """
    num = 0
    with suppress(OSError):  # no such folder
        for path in SHM.iterdir():
            lock = SEGMENT_LOCK.fullmatch(path.name)
            # Skip segments in use, of other users, and those that others remove at this moment.
            with suppress(OSError):
                if lock and time.time() - path.stat().st_mtime >= LOCKING_TIME:
                    with path.open('rb+') as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        (SHM / lock[1]).unlink()
                        path.unlink()
                    num += 1
    return num


class TransportMonitor:
    """
    Checks whether the images that a node subscribes to, and those that it publishes, arrive.

    Lost images are estimated from gaps between the stamps of those that arrive. The period is that
    of the shortest intervals, so that it is known even where most images are lost. Intervals that
    are not multiples of it come from a source without a constant rate, such as a file that is
    played in lock-step, and do not count as a loss. A source that skips images on purpose looks
    like a loss.

    :ivar sent_bytes: size of the last image that the node published; 0 while nobody subscribes.
    """

    def __init__(self, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._topic, self._clock = topic, clock
        self._last_arrival = clock()
        self._stamps_ns: deque[int] = deque(maxlen=WINDOW + 1)
        self._received_bytes = 0
        self.sent_bytes = 0

    def add(self, msg: Image) -> None:
        """Add an image that has arrived."""
        stamp_ns = msg.header.stamp.sec * NS + msg.header.stamp.nanosec
        # A bag that loops, or a camera that was restarted.
        if self._stamps_ns and not 0 < stamp_ns - self._stamps_ns[-1] < MAX_GAP * NS:
            self._stamps_ns.clear()
        self._stamps_ns.append(stamp_ns)
        self._last_arrival = self._clock()
        self._received_bytes = len(msg.data)

    def estimate_loss(self) -> float:
        """Estimate the fraction of lost images, from 0 to below 1; 0 without enough samples."""
        intervals = np.diff(np.array(self._stamps_ns, np.int64)).astype(np.float64)
        if len(intervals) < MIN_SAMPLES:
            return 0.0
        shortest = np.percentile(intervals, 5)
        period = np.median(intervals[intervals <= JITTER * shortest])
        tolerance = np.maximum(MULTIPLE, DRIFT * intervals / period)
        # Where no two consecutive images arrive, the shortest interval is two or three periods.
        for divisor in (1, 2, 3):
            in_periods = intervals * divisor / period
            is_multiple = np.abs(in_periods - np.round(in_periods)) < tolerance
            if is_multiple.mean() >= REGULAR:
                lost = np.where(in_periods > JITTER, np.round(in_periods) - 1, 0).sum()
                return float(lost / (lost + len(intervals))) if lost >= MIN_SAMPLES else 0.0
        return 0.0

    def conditions(self) -> list[Condition]:
        """Report missing shared memory and a significant loss of images."""
        memory = read_shared_memory(get_rmw_implementation_identifier())
        conditions = shared_memory_conditions(memory, self.sent_bytes, self._received_bytes)
        if self._clock() - self._last_arrival > MAX_GAP:
            self._stamps_ns.clear()  # no more images come
        loss = self.estimate_loss()
        if loss > TOLERATED_LOSS:
            message = (
                f'about {100 * loss:.0f} % of the images on {self._topic} do not arrive: start '
                'their publisher with config/fastdds.xml of mnssd_perception and a common '
                '/dev/shm (--shm-size, --ipc=host), or request reliable QoS'
            )
            conditions.append(Condition('lost_images', WARN, message))
        return conditions
