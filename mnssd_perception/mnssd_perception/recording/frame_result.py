"""The detections in one frame."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mnssd_perception.ssd import Detections


@dataclass(frozen=True)
class FrameResult:
    """
    The detections in one frame.

    :ivar index: of the frame, from 0.
    :ivar stamp_ns: time of capture [ns].
    :ivar latency: from the stamp to the arrival of the detections [s]; None where the clocks
        differ.
    :ivar class_names: by label; a label without a name is shown as a number.
    """

    index: int
    stamp_ns: int
    frame_id: str
    latency: float | None
    detections: Detections
    class_names: Mapping[int, str]

    def name(self, label: int) -> str:
        """Return the name of a class, or its number."""
        return self.class_names.get(label, str(label))

    def counts(self) -> dict[str, int]:
        """Count the detections of each class by name, in the order of the labels."""
        labels = Counter(self.detections.labels.tolist())
        return {self.name(label): labels[label] for label in sorted(labels)}
