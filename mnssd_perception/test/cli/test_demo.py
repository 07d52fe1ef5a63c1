"""The demo from start to end over real DDS, and every way in which it may end early."""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
import uuid

import cv2
from mnssd_perception.bundle import shipped_bundle_path
import pytest

pytest.importorskip('rclpy', reason='needs rclpy')
pytest.importorskip('vision_msgs', reason='needs the built messages')
pytestmark = pytest.mark.ros

PACKAGE = Path(__file__).resolve().parents[2] / 'mnssd_perception'
CLIP = PACKAGE / 'assets' / 'clips' / 'hit_uav'
PATIENCE = 120  # s


class Demo:
    """A demo in a child process, marked to find all of its children."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / 'out'
        self._mark = f'MNSSD_TEST_MARK={uuid.uuid4()}'
        name, _, value = self._mark.partition('=')
        environ = {**os.environ, name: value}
        environ.pop('ROS_DOMAIN_ID', None)
        command = [sys.executable, '-m', 'mnssd_perception.cli.demo', '--output', str(self.output)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> tuple[int, str]:
        text, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, text

    def wait_for_detections(self) -> None:
        journal = self.output / 'detections.jsonl'
        assert eventually(lambda: journal.is_file() and journal.stat().st_size > 0)

    def processes(self) -> list[int]:
        found = []
        for place in Path('/proc').glob('[0-9]*/environ'):
            try:
                environ = place.read_bytes().split(b'\0')
            except OSError:
                continue
            if self._mark.encode() in environ:
                found.append(int(place.parent.name))
        return found


def eventually(condition: object) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def five_frames(tmp_path: Path) -> Path:
    folder = tmp_path / 'clip'
    folder.mkdir()
    for path in sorted(CLIP.glob('*.jpg'))[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    assert len(list(folder.iterdir())) == 5
    return folder


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, '--source', 'synthetic:', '--rate', '5')
    yield demo
    for pid in demo.processes():
        os.kill(pid, signal.SIGKILL)
    demo.process.wait(PATIENCE)


def test_detections_video_and_contact_sheet_are_written(tmp_path: Path, five_frames: Path) -> None:
    # Faster than any detector: without lock-step most frames would be replaced by newer ones.
    arguments = ['--source', str(five_frames), '--rate', '1000', '--score-threshold', '0.2']
    demo = Demo(tmp_path, *arguments)
    code, text = demo.finish()
    assert code == 0, text
    assert 'Traceback' not in text
    assert 'lock-step: every frame is recorded' in text
    lines = (demo.output / 'detections.jsonl').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 5
    assert all(0 < record['latency_ms'] < 60_000 for record in records)
    assert {d['class_name'] for r in records for d in r['detections']} <= {
        'Person', 'Car', 'Bicycle', 'OtherVehicle',
    }  # fmt: skip
    assert any(record['detections'] for record in records)
    video = cv2.VideoCapture(str(demo.output / 'overlay.mp4'))
    num_frames = 0
    while video.read()[0]:
        num_frames += 1
    assert num_frames >= 5
    sheet = cv2.imread(str(demo.output / 'contact_sheet.jpg'))
    assert sheet is not None
    assert sheet.shape[1] > 1000
    for name in ('detections.jsonl', 'overlay.mp4', 'contact_sheet.jpg'):
        assert str(demo.output / name) in text
    assert demo.processes() == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_demo_cleanly(endless: Demo, number: signal.Signals) -> None:
    endless.wait_for_detections()
    commands = [Path(f'/proc/{pid}/cmdline').read_text() for pid in endless.processes()]
    assert len(commands) == 4
    # The camera waits until a frame is written, not only detected.
    (camera,) = (command for command in commands if 'camera_node' in command)
    assert 'lockstep:=true' in camera
    assert 'detections:=recorded' in camera
    endless.process.send_signal(number)
    code, text = endless.finish()
    assert code == 0, text
    assert 'Traceback' not in text
    assert endless.processes() == []
    assert (endless.output / 'overlay.mp4').is_file()


def test_no_process_outlives_a_killed_demo(endless: Demo) -> None:
    endless.wait_for_detections()
    endless.process.kill()
    endless.process.wait(PATIENCE)
    assert eventually(lambda: not endless.processes())


@pytest.mark.parametrize(
    ('arguments', 'pace'), [([], 'lock-step'), (['--realtime'], 'real time')], ids=str
)
def test_demo_ends_after_the_given_time(tmp_path: Path, arguments: list[str], pace: str) -> None:
    given = ['--source', 'synthetic:', '--rate', '10', '--seconds', '2', *arguments]
    demo = Demo(tmp_path, *given)
    code, text = demo.finish()
    assert code == 0, text
    assert f'played in {pace}' in text
    assert demo.processes() == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--source', '/no/such/folder'], 'the path does not exist'),
        (['--bundle', '/no/such/bundle'], 'no such file'),
        (['--rate', '-3'], 'rate'),
    ],
    ids=['source', 'bundle', 'rate'],
)
def test_failure_is_reported_without_a_traceback(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    demo = Demo(tmp_path, *arguments)
    code, text = demo.finish()
    assert code == 1, text
    assert message in text
    assert 'Traceback' not in text
    assert demo.processes() == []


def test_output_folder_that_is_not_writable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'out').write_text('a file')
    code, text = Demo(tmp_path, '--bundle', str(shipped_bundle_path())).finish()
    assert code == 1
    assert 'cannot write' in text
