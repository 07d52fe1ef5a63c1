"""Write detections to a file in JSON Lines format."""

import json
from pathlib import Path

from mnssd_perception.recording.folder import writing
from mnssd_perception.recording.frame_result import FrameResult
from mnssd_perception.text import sanitize_text

NS = 10**9


class DetectionLog:
    """Writes each frame as one line, which can be read immediately, or raises RecordingError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            self._file = path.open('w', encoding='utf-8', buffering=1)

    def add(self, result: FrameResult) -> None:
        """Write a line."""
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
                for label, score, box in result.rows()
            ],
        }
        with writing(self.path):
            self._file.write(json.dumps(line, ensure_ascii=False) + '\n')

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        with writing(self.path):
            self._file.close()
