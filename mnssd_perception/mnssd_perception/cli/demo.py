"""A clip through the whole graph: camera, detector and recorder, each a process."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
import math
import os
from pathlib import Path
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.cli.children import Child, Children
from mnssd_perception.cli.graph import isolated_environ
from mnssd_perception.errors import MnssdError, SourceError
from mnssd_perception.sources import is_live
from mnssd_perception.text import mask_secrets

POLL = 0.05  # s

# Until the model is loaded on a slow machine [s].
START_TIMEOUT = 120.0

# In lock-step the clip ends by itself, and the camera gives up long before this guard [s].
LOCKSTEP_PATIENCE = 300.0

# From the end of a clip to the end of the camera's process, on a busy machine [s].
CAMERA_END = 30.0

# A detector that subscribes reliably gets each frame at the first attempt.
RELIABLE_IMAGES = {'qos_overrides./image.subscription.reliability': 'reliable'}

# Three processes with a segment of 18 MB each [bytes].
SHARED_MEMORY = 54 * 10**6


class Stop:
    """
    Remembers that the user or the system wants an end.

    :ivar wanted: whether it does.
    """

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        """Note the wish; the loops look at it."""
        self.wanted = True


class End:
    """
    The time after which the demo was asked to end, counted from the first detection.

    :param output: folder of the results.
    :param seconds: how long; 0 for no such end.
    """

    def __init__(self, output: Path, seconds: float) -> None:
        self._journal, self._seconds = output / 'detections.jsonl', seconds
        self._moment: float | None = None

    def has_come(self) -> bool:
        """Say so, once."""
        if self._seconds <= 0:
            return False
        if self._moment is None:
            if self._journal.is_file() and self._journal.stat().st_size:
                self._moment = time.monotonic() + self._seconds
            return False
        if time.monotonic() < self._moment:
            return False
        self._moment = math.inf
        return True


def main(args: Sequence[str] | None = None) -> int:
    """
    Play a clip and say where the results are.

    :param args: of the command line; None for those of the process.
    :return: the exit code.
    """
    options = _parser().parse_args(args)
    stop = Stop()
    try:
        return _demonstrate(options, stop)
    except (MnssdError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(
        prog='demo', description='Find objects in a clip and show, record and time what is found.'
    )
    add = parser.add_argument
    add('--source', default='', help='a folder of images, a video file, /dev/video0, rtsp://... '
        'or synthetic:; default: the thermal clip that comes with mnssd')  # fmt: skip
    add('--output', type=Path, default=Path('runs/demo'), help='folder of the results')
    add('--bundle', default='', help='the model; default: the one that comes with mnssd')
    add('--rate', type=float, default=0.0, help="frames a second; default: the source's own")
    add(
        '--seconds',
        type=float,
        default=0.0,
        help='end after this time of detections; default: with the clip',
    )
    add(
        '--realtime',
        action='store_true',
        help='play files by the clock: a slow detector skips frames; default: every frame waits '
        'until the last one is recorded',
    )
    add('--score-threshold', type=float, default=None, help='least score that is shown')
    return parser


def _demonstrate(options: argparse.Namespace, stop: Stop) -> int:
    """Run the three processes from start to end."""
    if find_spec('rclpy') is None:
        raise MnssdError(
            'ROS 2 is not here (no module rclpy); run it by `make demo`, or source a ROS 2 first'
        )
    bundle = open_bundle(options.bundle or shipped_bundle_path())
    source = options.source or str(_shipped_clip())
    output = options.output.expanduser().absolute()
    logs = output / 'log'
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MnssdError(f"cannot write into '{output}': {error.strerror}") from error
    _warn_of_little_shared_memory()
    environ = isolated_environ(os.environ)
    domain = environ['ROS_DOMAIN_ID']
    lockstep = not (options.realtime or is_live(source))
    print(
        f'{bundle.name} {bundle.version} looks at {mask_secrets(source)} '
        f'(ROS_DOMAIN_ID={domain}; Ctrl-C ends it)\n'
    )
    sys.stdout.flush()

    def start(name: str, parameters: dict[str, object], **how: Any) -> Child:
        return children.add(Child(name, parameters, environ, logs / f'{name}.log', **how))

    detector_parameters: dict[str, object] = {'bundle': str(bundle.path.absolute())}
    recorder_parameters: dict[str, object] = {
        'output': str(output),
        'start_timeout': 2 * START_TIMEOUT,
    }
    if lockstep:
        detector_parameters |= RELIABLE_IMAGES
        recorder_parameters['idle_timeout'] = LOCKSTEP_PATIENCE
    if options.score_threshold is not None:
        detector_parameters['score_threshold'] = options.score_threshold
    with tempfile.TemporaryDirectory() as scratch, Children() as children:
        ready = Path(scratch) / 'ready'
        start('detector_node', detector_parameters)
        recorder = start(
            'recorder_node',
            {**recorder_parameters, 'ready_file': str(ready)},
            shows_stdout=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not (ready.exists() or stop.wanted or children.failed()):
            if time.monotonic() > deadline:
                raise MnssdError(f'the detector was not ready within {START_TIMEOUT:.0f} s')
            time.sleep(POLL)
        is_cut_short = False
        if not (stop.wanted or children.failed()):
            camera = start(
                'camera_node',
                {
                    'source': source,
                    'rate': float(options.rate),
                    'wait_for_subscribers': 1,
                    'lockstep': lockstep,
                },
                # Not only detected: written down.
                remappings={'detections': 'recorded'},
            )
            end = End(output, options.seconds)
            _play(children, camera, recorder, stop, end)
            is_cut_short = lockstep and not (stop.wanted or end.has_come() or _has_ended(camera))
        failed = children.failed()
    # What is written down last may fail as well, also after a Ctrl-C.
    if failed is None and recorder.code == 1:
        failed = recorder
    if failed is not None:
        print(f'\ndemo: {failed.name} has failed:\n{failed.last_words()}', file=sys.stderr)
        print(f'    see {failed.log}', file=sys.stderr)
        return 1
    if is_cut_short:
        print(
            '\ndemo: the recorder has ended before the camera; frames are missing', file=sys.stderr
        )
        return 1
    pace = 'lock-step: every frame is recorded' if lockstep else 'real time: the newest frame wins'
    print(f'  played in {pace}')
    return 0


def _play(children: Children, camera: Child, recorder: Child, stop: Stop, end: End) -> None:
    """Wait until the clip has ended and is written down, or somebody wants an end."""
    while recorder.code is None and not (stop.wanted or children.failed()):
        if end.has_come():
            camera.ask_to_end()  # the recorder notices, and ends
        time.sleep(POLL)


def _has_ended(camera: Child) -> bool:
    """Tell whether a camera ends by itself; its publisher goes a moment before its process."""
    deadline = time.monotonic() + CAMERA_END
    while camera.code is None and time.monotonic() < deadline:
        time.sleep(POLL)
    return camera.code is not None


def _shipped_clip() -> Path:
    """Find the clip that comes with mnssd."""
    clip = Path(__file__).resolve().parents[1] / 'assets' / 'clips' / 'hit_uav'
    if not clip.is_dir():
        raise SourceError(f"no clip was installed at '{clip}'; name a source: --source PATH")
    return clip


def _warn_of_little_shared_memory() -> None:
    """Say when images will not fit into shared memory, as in a container."""
    if not Path('/dev/shm').is_dir():
        return
    free = shutil.disk_usage('/dev/shm').free
    if free < SHARED_MEMORY:
        print(
            f'demo: /dev/shm has only {free >> 20} MB; frames may be lost '
            '(docker run --shm-size=256m)',
            file=sys.stderr,
        )


if __name__ == '__main__':
    sys.exit(main())
