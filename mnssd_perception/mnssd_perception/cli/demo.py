"""Play a clip through camera, detector and recorder, each in its own process."""

import argparse
from collections.abc import Callable, Sequence
from importlib.util import find_spec
import math
import os
from pathlib import Path
import shutil
import signal
import sys
import tempfile
from threading import Event
import time
from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.cli.child_nodes import ChildNode, ChildNodes
from mnssd_perception.cli.environment import isolated_environ
from mnssd_perception.errors import MnssdError, SourceError
from mnssd_perception.recording import prepare_folder
from mnssd_perception.sources import is_live
from mnssd_perception.text import mask_secrets

POLL = 0.05  # s
START_TIMEOUT = 120.0  # until the model is loaded on a slow machine [s]

# In lock-step the clip ends by itself, and the camera fails long before this timeout [s].
LOCKSTEP_IDLE_TIMEOUT = 300.0

# From the end of a clip to the end of the camera's process, on a busy machine [s].
CAMERA_END_TIMEOUT = 30.0

# A detector with a reliable subscription gets each frame at the first attempt.
RELIABLE_IMAGES = {'qos_overrides./image.subscription.reliability': 'reliable'}

MIN_SHARED_MEMORY = 54 * 10**6  # three processes with a segment of 18 MB each [bytes]


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    options = _make_parser().parse_args(args)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: stop.set())
    try:
        return _run_demo(options, stop)
    except (MnssdError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='demo', description='Detect objects in a clip, and show and record the detections.'
    )
    add = parser.add_argument
    add('--source', default='', help='a folder of images, a video file, /dev/video0, rtsp://... '
        'or synthetic:; default: the thermal clip that is shipped')  # fmt: skip
    add('--output', type=Path, default=Path('runs/demo'), help='output folder')
    add('--bundle', default='', help='model bundle; default: the one that is shipped')
    add('--rate', type=float, default=0.0, help='frames per second; default: that of the source')
    add('--seconds', type=float, default=0.0, help='end this long after the first detections; '
        'default: at the end of the clip')  # fmt: skip
    add('--realtime', action='store_true', help='play files at their rate: a slow detector skips '
        'frames; default: each frame waits until the last one is recorded')  # fmt: skip
    add('--score-threshold', type=float, help='minimum score; default: that of the bundle')
    return parser


def _run_demo(options: argparse.Namespace, stop: Event) -> int:
    if find_spec('rclpy') is None:
        raise MnssdError(
            'ROS 2 is missing (no module rclpy); use `make demo`, or source a ROS 2 workspace'
        )
    bundle = open_bundle(options.bundle or shipped_bundle_path())
    source = options.source or str(_shipped_clip())
    output = options.output.expanduser().absolute()
    logs = output / 'log'
    prepare_folder(logs)
    _warn_of_little_shared_memory()
    environ = isolated_environ(os.environ)
    lockstep = not (options.realtime or is_live(source))
    print(
        f'{bundle.name} {bundle.version} on {mask_secrets(source)} '
        f'(ROS_DOMAIN_ID={environ["ROS_DOMAIN_ID"]}; press Ctrl-C to stop)\n'
    )
    sys.stdout.flush()
    detector_parameters: dict[str, object] = {'bundle': str(bundle.path.absolute())}
    recorder_parameters: dict[str, object] = {
        'output': str(output),
        'start_timeout': 2 * START_TIMEOUT,
    }
    camera_parameters = {
        'source': source, 'rate': float(options.rate), 'wait_for_subscribers': 1,
        'lockstep': lockstep,
    }  # fmt: skip
    if lockstep:
        detector_parameters |= RELIABLE_IMAGES
        recorder_parameters['idle_timeout'] = LOCKSTEP_IDLE_TIMEOUT
    if options.score_threshold is not None:
        detector_parameters['score_threshold'] = options.score_threshold

    def start(name: str, parameters: dict[str, object], **process_options: Any) -> ChildNode:
        log = logs / f'{name}.log'
        return nodes.add(ChildNode(name, parameters, environ, log, **process_options))

    def is_ending() -> bool:
        return stop.is_set() or nodes.find_failed() is not None

    with tempfile.TemporaryDirectory() as scratch, ChildNodes() as nodes:
        ready = Path(scratch) / 'ready'
        start('detector_node', detector_parameters)
        recorder = start(
            'recorder_node', {**recorder_parameters, 'ready_file': str(ready)}, shows_stdout=True
        )
        if not _wait(lambda: ready.exists() or is_ending(), START_TIMEOUT):
            raise MnssdError(f'the detector was not ready within {START_TIMEOUT:.0f} s')
        is_truncated = False
        if not is_ending():
            # The next frame waits until the last one is recorded, not only detected.
            camera = start('camera_node', camera_parameters, remappings={'detections': 'recorded'})
            has_expired = _play(camera, recorder, output, options.seconds, is_ending)
            # The publisher of a camera disappears a moment before its process.
            is_truncated = (
                lockstep
                and not (stop.is_set() or has_expired)
                and not _wait(lambda: camera.exit_code is not None, CAMERA_END_TIMEOUT)
            )
        failed = nodes.find_failed()
    # Writing the last data may fail as well, also after a Ctrl-C.
    if failed is None and recorder.exit_code == 1:
        failed = recorder
    if failed is not None:
        log = f'{failed.read_log()}\n    see {failed.log}'
        print(f'\ndemo: {failed.name} has failed:\n{log}', file=sys.stderr)
        return 1
    if is_truncated:
        print('\ndemo: the recorder ended before the camera; frames are missing', file=sys.stderr)
        return 1
    pace = (
        'lock-step: every frame is recorded' if lockstep else 'real time: slow nodes skip frames'
    )
    print(f'  played in {pace}')
    return 0


def _play(
    camera: ChildNode,
    recorder: ChildNode,
    output: Path,
    seconds: float,
    is_ending: Callable[[], bool],
) -> bool:
    """Wait for the end, or end the camera some time after the first detections; tell which."""
    detections = output / 'detections.jsonl'
    deadline = math.inf
    has_expired = False
    while recorder.exit_code is None and not is_ending():
        if deadline == math.inf and detections.is_file() and detections.stat().st_size:
            deadline = time.monotonic() + (seconds if seconds > 0 else math.inf)
        if time.monotonic() >= deadline and not has_expired:
            has_expired = True
            camera.send_signal()  # the recorder notices, and ends
        time.sleep(POLL)
    return has_expired


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until a condition holds; return False after the timeout [s]."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _shipped_clip() -> Path:
    clip = Path(__file__).resolve().parents[1] / 'assets' / 'clips' / 'hit_uav'
    if not clip.is_dir():
        raise SourceError(f"no clip is installed at '{clip}'; name a source: --source PATH")
    return clip


def _warn_of_little_shared_memory() -> None:
    shm = Path('/dev/shm')
    if shm.is_dir() and (free := shutil.disk_usage(shm).free) < MIN_SHARED_MEMORY:
        print(
            f'demo: /dev/shm has only {free >> 20} MB; frames may be lost '
            '(docker run --shm-size=256m)',
            file=sys.stderr,
        )


if __name__ == '__main__':
    sys.exit(main())
