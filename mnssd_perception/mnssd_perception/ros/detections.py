"""Detections to vision_msgs/Detection2DArray and back."""

from mnssd_perception.ssd import Detections
import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

# Of a label; floating point is exact up to here.
MAX_DIGITS = 15


def to_message(detections: Detections, header: Header) -> Detection2DArray:
    """
    Make the message of what was found in an image.

    :param detections: in pixels of the image.
    :param header: the header of the image; it becomes that of the array and of every detection.
    :return: the message; ``class_id`` is the label as a decimal string, ``id`` stays empty as
        nothing is tracked.
    """
    boxes = detections.boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    columns = (centres, sizes, detections.scores, detections.labels)
    rows = zip(*(column.tolist() for column in columns))
    msg = Detection2DArray(header=header)
    msg.detections = [_detection(header, *row) for row in rows]
    return msg


def _detection(
    header: Header, centre: list[float], size: list[float], score: float, label: int
) -> Detection2D:
    """Fill one detection."""
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = str(label)
    result.hypothesis.score = score
    detection = Detection2D(header=header, results=[result])
    box = detection.bbox
    box.center.position.x, box.center.position.y = centre
    box.size_x, box.size_y = size
    return detection


def from_message(msg: Detection2DArray) -> Detections:
    """
    Read the best hypothesis of each detection.

    :param msg: a message as :func:`to_message` makes it; detections without a hypothesis or with
        a ``class_id`` that is no number are left out.
    :return: the detections, in the order of the message.
    """
    rows = []
    for detection in msg.detections:
        best = max(detection.results, key=lambda r: r.hypothesis.score, default=None)
        if best is None or not best.hypothesis.class_id.isdecimal():
            continue
        if len(best.hypothesis.class_id) > MAX_DIGITS:
            continue
        centre, box = detection.bbox.center.position, detection.bbox
        half_x, half_y = box.size_x / 2, box.size_y / 2
        corners = centre.x - half_x, centre.y - half_y, centre.x + half_x, centre.y + half_y
        rows.append((*corners, best.hypothesis.score, int(best.hypothesis.class_id)))
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.int64),
    )
