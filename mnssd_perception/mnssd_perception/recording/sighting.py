"""What was found in one frame, as the recorder passes it around."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mnssd_perception.ssd import Detections


@dataclass(frozen=True)
class FrameResult:
    """
    One frame that was looked at.

    :ivar index: of the frame, from 0.
    :ivar stamp_ns: when the image was taken [ns].
    :ivar frame_id: of the camera.
    :ivar latency: from then until its detections arrived [s]; None where the clocks differ.
    :ivar detections: in pixels of the image.
    :ivar class_names: by label; a label without a name is shown as a number.
    """

    index: int
    stamp_ns: int
    frame_id: str
    latency: float | None
    detections: Detections
    class_names: Mapping[int, str]

    def name(self, label: int) -> str:
        """
        Name a class.

        :param label: of the class.
        :return: its name, or its number.
        """
        return self.class_names.get(label, str(label))

    def counts(self) -> dict[str, int]:
        """
        Count the objects of each class, in the order of the labels.

        :return: by the name of the class, without those that were not seen.
        """
        labels = Counter(self.detections.labels.tolist())
        return {self.name(label): labels[label] for label in sorted(labels)}
