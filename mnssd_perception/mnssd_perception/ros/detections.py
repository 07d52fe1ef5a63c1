"""Convert detections and class names to vision_msgs and back."""

from collections.abc import Sequence

from mnssd_perception.ssd import Detections
from mnssd_perception.text import sanitize_text
import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

MAX_DIGITS = 15  # of a label; floating point is exact up to here
MAX_NAME_CHARS = 64


def to_message(detections: Detections, header: Header) -> Detection2DArray:
    """
    Convert detections, in pixels of the image, to a message with the header of the image.

    :return: ``class_id`` is the label as a decimal string; ``id`` is empty without a tracker.
    """
    boxes = detections.boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    columns = (centres, sizes, detections.scores, detections.labels)
    msg = Detection2DArray(header=header)
    for centre, size, score, label in zip(*(column.tolist() for column in columns)):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = str(label)
        result.hypothesis.score = score
        detection = Detection2D(header=header, results=[result])
        box = detection.bbox
        box.center.position.x, box.center.position.y = centre
        box.size_x, box.size_y = size
        msg.detections.append(detection)
    return msg


def from_message(msg: Detection2DArray) -> Detections:
    """
    Read the best hypothesis of each detection, in the order of the message.

    Detections without a hypothesis or with a ``class_id`` that is not a number are skipped.
    """
    rows = []
    for detection in msg.detections:
        best = max(detection.results, key=lambda r: r.hypothesis.score, default=None)
        label = best.hypothesis.class_id if best else ''
        if best is None or not label.isdecimal() or len(label) > MAX_DIGITS:
            continue
        centre, box = detection.bbox.center.position, detection.bbox
        half_x, half_y = box.size_x / 2, box.size_y / 2
        corners = centre.x - half_x, centre.y - half_y, centre.x + half_x, centre.y + half_y
        rows.append((*corners, best.hypothesis.score, int(label)))
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.int64),
    )


def to_label_info(names: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """Make the message with the class names by label and the score threshold."""
    classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def from_label_info(msg: LabelInfo) -> dict[int, str]:
    """Read the class names by label, sanitized for display."""
    return {
        entry.class_id: sanitize_text(entry.class_name, MAX_NAME_CHARS) for entry in msg.class_map
    }
