"""Tests of the log."""

from contextlib import closing
from dataclasses import replace
import json
from pathlib import Path

from mnssd_perception.errors import RecordingError
from mnssd_perception.recording import DetectionLog, FrameResult
from mnssd_perception.ssd import Detections
import numpy as np
import pytest


def frame_result(labels: list[int], names: dict[int, str] | None = None) -> FrameResult:
    num = len(labels)
    boxes = np.tile(np.array([1, 2.5, 30, 40], np.float32), (num, 1))
    scores = np.full(num, 0.75, np.float32)
    return FrameResult(
        index=3,
        stamp_ns=12_000_000_034,
        frame_id='camera',
        latency=0.0123456,
        detections=Detections(boxes, scores, np.array(labels, np.int64)),
        class_names={0: 'Person', 1: 'Car'} if names is None else names,
    )


def test_an_empty_frame_is_a_line(tmp_path: Path) -> None:
    with closing(DetectionLog(tmp_path / 'log.jsonl')) as log:
        log.add(frame_result([]))
    line = json.loads((tmp_path / 'log.jsonl').read_text())
    assert line == {
        'stamp': {'sec': 12, 'nanosec': 34},
        'frame_id': 'camera',
        'latency_ms': 12.346,
        'detections': [],
    }


def test_each_detection_is_written(tmp_path: Path) -> None:
    with closing(DetectionLog(tmp_path / 'log.jsonl')) as log:
        log.add(frame_result([1, 9]))
    known, unknown = json.loads((tmp_path / 'log.jsonl').read_text())['detections']
    assert known == {
        'class_id': '1',
        'class_name': 'Car',
        'score': 0.75,
        'box_xyxy': [1.0, 2.5, 30.0, 40.0],
    }
    assert (unknown['class_id'], unknown['class_name']) == ('9', '9')


def test_lines_can_be_read_while_it_writes(tmp_path: Path) -> None:
    log = DetectionLog(tmp_path / 'log.jsonl')
    for num in (1, 2, 3):
        log.add(frame_result([0]))
        assert len((tmp_path / 'log.jsonl').read_text().splitlines()) == num
    log.close()
    log.close()


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    with closing(DetectionLog(tmp_path / 'log.jsonl')) as log:
        log.add(frame_result([0], {0: 'Fußgänger\n行人'}))
    lines = (tmp_path / 'log.jsonl').read_text(encoding='utf-8').splitlines()
    assert json.loads(lines[0])['detections'][0]['class_name'] == 'Fußgänger\n行人'


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r'log\.jsonl'):
        DetectionLog(tmp_path / 'missing' / 'log.jsonl')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_a_full_disk_is_an_error() -> None:
    log = DetectionLog(Path('/dev/full'))
    with pytest.raises(RecordingError, match='No space left'):
        log.add(frame_result([0]))
    # What could not be written is tried again at the end.
    with pytest.raises(RecordingError, match='No space left'):
        log.close()
    log.close()


def test_a_long_frame_id_does_not_fill_the_disk(tmp_path: Path) -> None:
    with closing(DetectionLog(tmp_path / 'log.jsonl')) as log:
        log.add(replace(frame_result([]), frame_id='c' * 10**6))
    assert (tmp_path / 'log.jsonl').stat().st_size < 1000
