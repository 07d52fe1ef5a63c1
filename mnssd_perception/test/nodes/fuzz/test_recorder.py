"""Detections, labels and overlays that no sane detector publishes, received by the recorder."""

import array
from contextlib import suppress
import json
import math
from pathlib import Path
from typing import Any

from fuzzing import fuzz_settings
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.errors import MnssdError
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('vision_msgs')

from builtin_interfaces.msg import Time as Stamp
from mnssd_perception.nodes.recorder_node import RecorderNode
from mnssd_perception.ros import qos
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

pytestmark = pytest.mark.ros

DOMAIN = 59
NS = 10**9

NUMBERS = st.sampled_from([0.0, 1.0, -5.0, 0.5, 1e30, 1e308, math.inf, -math.inf, math.nan])
TEXTS = st.sampled_from(
    ['', '0', '1', '-1', '99', 'Car', '9' * 40, '\u0663', 'a\n\x1b[31mb', 'x' * 9000]
)
SIDES = st.sampled_from([0, 1, 2, 3, 64, 97, 3000])
STAMPS = st.builds(
    Stamp, sec=st.sampled_from([0, 1, 2**31 - 1, -(2**31)]), nanosec=st.integers(0, 2**32 - 1)
)
HEADERS = st.builds(Header, stamp=STAMPS, frame_id=TEXTS)


@st.composite
def detection_arrays(draw: st.DrawFn) -> Detection2DArray:
    msg = Detection2DArray(header=draw(HEADERS))
    for _ in range(draw(st.sampled_from([0, 1, 2, 300]))):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = draw(TEXTS), draw(NUMBERS)
        detection = Detection2D(results=[result] * draw(st.integers(0, 2)))
        detection.bbox.size_x, detection.bbox.size_y = draw(NUMBERS), draw(NUMBERS)
        detection.bbox.center.position.x = draw(NUMBERS)
        msg.detections.append(detection)
    return msg


@st.composite
def overlays(draw: st.DrawFn) -> Image:
    height, width = draw(SIDES), draw(SIDES)
    encoding = draw(st.sampled_from(['bgr8', 'bgr8', 'rgb8', 'mono8', '', 'jpeg\n\x1b[31mx']))
    step = width * (1 if encoding == 'mono8' else 3)
    msg = Image(header=draw(HEADERS), height=height, width=width, encoding=encoding, step=step)
    msg.data = array.array('B', bytes(height * step + draw(st.sampled_from([0, 0, 0, 1]))))
    return msg


@fuzz_settings(0.5)
@given(names=st.lists(TEXTS, max_size=3), detections=detection_arrays(), overlay=overlays())
def test_recorder_writes_every_message_it_receives(
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
    graph: Any,
    names: list[str],
    detections: Detection2DArray,
    overlay: Image,
) -> None:
    folder = tmp_path_factory.mktemp('recording')
    graph.done.__init__(executor=graph.executor)
    node = graph.start(RecorderNode, output=str(folder))
    topics = {'label_info': LabelInfo, 'overlay': Image, 'detections': Detection2DArray}
    profiles = {
        'label_info': qos.latched(),
        'overlay': qos.image_out(),
        'detections': qos.detections(),
    }
    publishers = {
        name: graph.publisher(topics[name], name, profile) for name, profile in profiles.items()
    }
    classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(names)]
    publishers['label_info'].publish(LabelInfo(class_map=classes))
    publishers['overlay'].publish(overlay)
    publishers['detections'].publish(detections)
    journal = folder / 'detections.jsonl'
    with suppress(MnssdError):
        graph.wait(journal.read_text)
    assert not graph.done.done()
    for publisher in publishers.values():
        graph.node.destroy_publisher(publisher)
    graph.executor.remove_node(node)
    with suppress(MnssdError):
        node.destroy_node()
    graph._nodes.remove(node)
    check_journal(journal, detections)
    output = capfd.readouterr()
    assert '\x1b[31m' not in output.out + output.err


def check_journal(path: Path, detections: Detection2DArray) -> None:
    (line,) = path.read_text().splitlines()
    entry = json.loads(line)
    stamp, expected = entry['stamp'], detections.header.stamp
    assert (stamp['sec'] - expected.sec) * NS + stamp['nanosec'] == expected.nanosec
    assert 0 <= stamp['nanosec'] < NS
    assert len(entry['detections']) <= len(detections.detections)
