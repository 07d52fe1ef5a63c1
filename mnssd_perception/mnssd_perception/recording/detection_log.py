"""Write detections to a file in JSON Lines format."""

import json
from pathlib import Path

from mnssd_perception.errors import RecordingError
from mnssd_perception.recording.frame_result import FrameResult
from mnssd_perception.text import sanitize_text

NS = 10**9


class DetectionLog:
    """
    Writes each frame as one line, which can be read immediately.

    :param path: of the file, which is replaced.
    :raises RecordingError: when it cannot be written, also by each method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open('w', encoding='utf-8', buffering=1)
        except OSError as error:
            raise self._failure(error) from error

    def add(self, result: FrameResult) -> None:
        """Write a line."""
        detections = result.detections
        rows = zip(
            detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist()
        )
        line = {
            'stamp': {'sec': result.stamp_ns // NS, 'nanosec': result.stamp_ns % NS},
            'frame_id': sanitize_text(result.frame_id),
            'latency_ms': None if result.latency is None else round(result.latency * 1000, 3),
            'detections': [
                {
                    'class_id': str(label),
                    'class_name': result.name(label),
                    'score': round(score, 4),
                    'box_xyxy': [round(side, 2) for side in box],
                }
                for label, score, box in rows
            ],
        }
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + '\n')
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> RecordingError:
        return RecordingError(f"cannot write '{self.path}': {error.strerror}")
