"""The detections in one frame."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mnssd_perception.ssd import Detections


@dataclass(frozen=True)
class FrameResult:
    """The detections in one frame."""

    index: int  # from 0
    stamp_ns: int  # time of capture
    frame_id: str
    latency: float | None  # until the detections arrived [s]; None where the clocks differ
    detections: Detections
    class_names: Mapping[int, str]  # by label

    def name(self, label: int) -> str:
        """Return the name of a class, or its number."""
        return self.class_names.get(label, str(label))

    def counts(self) -> dict[str, int]:
        """Count the detections of each class by name, in the order of the labels."""
        labels = Counter(self.detections.labels.tolist())
        return {self.name(label): labels[label] for label in sorted(labels)}

    def summary(self) -> str:
        """Format the counts, for example as ``2 Person, 1 Car``."""
        counts = ', '.join(f'{num} {name}' for name, num in self.counts().items())
        return counts or 'no detections'

    def rows(self) -> Iterator[tuple[int, float, list[float]]]:
        """Yield label, score and box of each detection."""
        result = self.detections
        return zip(result.labels.tolist(), result.scores.tolist(), result.boxes.tolist())
