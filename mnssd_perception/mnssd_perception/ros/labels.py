"""A bundle to the latched messages that say what the detections mean."""

from collections.abc import Sequence

from mnssd_perception.text import sanitize_text
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass, VisionInfo

MAX_NAME_CHARS = 64


def label_info(names: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """
    Name the classes.

    :param names: by label, from 0.
    :param threshold: the least score that is published.
    :param header: time of the message.
    :return: the message.
    """
    classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def vision_info(method: str, digest: str, version: int, header: Header) -> VisionInfo:
    """
    Say which model makes the detections, and where the names of its classes come from.

    :param method: the model and its engine in words.
    :param digest: of the bundle, which holds the names.
    :param version: rises whenever another bundle is loaded.
    :param header: time of the message.
    :return: the message.
    """
    return VisionInfo(
        header=header, method=method, database_location=digest, database_version=version
    )


def class_names(msg: LabelInfo) -> dict[int, str]:
    """
    Read the names of the classes.

    :param msg: the message; it may come from any node.
    :return: names by label, safe to show.
    """
    return {
        entry.class_id: sanitize_text(entry.class_name, MAX_NAME_CHARS) for entry in msg.class_map
    }
