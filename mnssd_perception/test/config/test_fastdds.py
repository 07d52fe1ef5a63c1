"""Tests of the Fast DDS profiles."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / 'config'
SEGMENTS = {'fastdds.xml': 16 * 2**20, 'fastdds_4k.xml': 64 * 2**20}
NAMESPACE = {'dds': 'http://www.eprosima.com'}


@pytest.mark.parametrize(
    ('name', 'width', 'height'), [('fastdds.xml', 1920, 1080), ('fastdds_4k.xml', 3840, 2160)]
)
def test_a_segment_holds_two_images(name, width, height):
    assert 2 * 3 * width * height < SEGMENTS[name]


def test_three_processes_fit_into_a_container():
    # Fast DDS adds 5 % to a segment, and its ports take little.
    assert 3 * 1.05 * SEGMENTS['fastdds.xml'] < 60 * 2**20


@pytest.mark.parametrize('name', SEGMENTS)
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
    assert sizes == {'SHM': str(SEGMENTS[name]), 'UDPv4': None}
    used = root.findall('.//dds:userTransports/dds:transport_id', NAMESPACE)
    assert {entry.text for entry in used} == set(transports)
    builtin = root.find('.//dds:useBuiltinTransports', NAMESPACE)
    assert builtin is not None
    assert builtin.text == 'false'

    (participant,) = root.iterfind('.//dds:participant', NAMESPACE)
    assert participant.get('is_default_profile') == 'true'
