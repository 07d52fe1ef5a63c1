"""Sightings to a file of one JSON object a line."""

import json
from pathlib import Path
from types import TracebackType

from mnssd_perception.errors import RecordingError
from mnssd_perception.recording.sighting import FrameResult
from mnssd_perception.text import sanitize_text

NS = 10**9


class Journal:
    """
    Writes each sighting as a line that can be read at once.

    :param path: of the file, which is replaced.
    :raises RecordingError: when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open('w', encoding='utf-8', buffering=1)
        except OSError as error:
            raise RecordingError(f"cannot write '{path}': {error.strerror}") from error

    def add(self, sighting: FrameResult) -> None:
        """
        Write a line.

        :param sighting: what was found in a frame.
        :raises RecordingError: when the file takes no more.
        """
        found = sighting.detections
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist())
        line = {
            'stamp': {'sec': sighting.stamp_ns // NS, 'nanosec': sighting.stamp_ns % NS},
            'frame_id': sanitize_text(sighting.frame_id),
            'latency_ms': None if sighting.latency is None else round(sighting.latency * 1000, 3),
            'detections': [
                {
                    'class_id': str(label),
                    'class_name': sighting.name(label),
                    'score': round(score, 4),
                    'box_xyxy': [round(side, 2) for side in box],
                }
                for label, score, box in rows
            ],
        }
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + '\n')
        except OSError as error:
            raise RecordingError(f"cannot write '{self.path}': {error.strerror}") from error

    def close(self) -> None:
        """
        Close the file; closing twice is harmless.

        :raises RecordingError: when the last of it cannot be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise RecordingError(f"cannot write '{self.path}': {error.strerror}") from error

    def __enter__(self) -> 'Journal':
        """Use the journal in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file at the end of the ``with`` statement."""
        self.close()
