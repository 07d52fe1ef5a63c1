"""Tests of the Fast DDS profiles."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip('rclpy')

from mnssd_perception.ros.transport import OVERHEAD, PROFILES

pytestmark = pytest.mark.ros

FOLDER = Path(__file__).parents[2] / 'config'
NAMESPACE = {'dds': 'http://www.eprosima.com'}


@pytest.mark.parametrize(
    ('name', 'width', 'height'), [('fastdds.xml', 1920, 1080), ('fastdds_4k.xml', 3840, 2160)]
)
def test_segment_holds_two_images(name, width, height):
    assert 2 * 3 * width * height < PROFILES[name]


def test_segments_of_three_processes_fit_into_a_container():
    # Beside its ports, which take little.
    assert 3 * OVERHEAD * PROFILES['fastdds.xml'] < 60 * 2**20


@pytest.mark.parametrize('name', PROFILES)
def test_every_participant_gets_shared_memory_and_udp(name):
    root = ElementTree.parse(FOLDER / name).getroot()
    transports = {
        entry.findtext('dds:transport_id', namespaces=NAMESPACE): entry
        for entry in root.iterfind('.//dds:transport_descriptor', NAMESPACE)
    }
    sizes = {
        entry.findtext('dds:type', namespaces=NAMESPACE): entry.findtext(
            'dds:segment_size', namespaces=NAMESPACE
        )
        for entry in transports.values()
    }
    assert sizes == {'SHM': str(PROFILES[name]), 'UDPv4': None}
    used = root.findall('.//dds:userTransports/dds:transport_id', NAMESPACE)
    assert {entry.text for entry in used} == set(transports)
    builtin = root.find('.//dds:useBuiltinTransports', NAMESPACE)
    assert builtin is not None
    assert builtin.text == 'false'

    (participant,) = root.iterfind('.//dds:participant', NAMESPACE)
    assert participant.get('is_default_profile') == 'true'
