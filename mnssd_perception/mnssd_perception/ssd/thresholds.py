"""The thresholds of post-processing, and their default values."""

from dataclasses import dataclass
from numbers import Integral, Real

from mnssd_perception.errors import SettingsError

MAX_CANDIDATES = 2000  # detections of one image that go into NMS, best first


@dataclass(frozen=True)
class Thresholds:
    """
    Which detections of an image are reported.

    :ivar score: smallest softmax score, greater than 0 and less than 1.
    :ivar iou: largest IoU of two detections of one class, 0 to 1.
    :ivar max_detections: largest number in an image, 1 to 2000.
    """

    score: float = 0.35
    iou: float = 0.5
    max_detections: int = 100

    def __post_init__(self) -> None:
        if not _is_number(self.score, Real) or not 0 < self.score < 1:
            raise SettingsError(
                f'score_threshold: expected more than 0 and less than 1, got {self.score!r}'
            )
        if not _is_number(self.iou, Real) or not 0 <= self.iou <= 1:
            raise SettingsError(f'iou_threshold: expected 0 to 1, got {self.iou!r}')
        limit = self.max_detections
        if not _is_number(limit, Integral) or not 1 <= limit <= MAX_CANDIDATES:
            raise SettingsError(
                f'max_detections: expected an integer from 1 to {MAX_CANDIDATES}, got {limit!r}'
            )


def _is_number(value: object, number_type: type) -> bool:
    """Check for a number of Python or NumPy; a bool is none."""
    return isinstance(value, number_type) and not isinstance(value, bool)
