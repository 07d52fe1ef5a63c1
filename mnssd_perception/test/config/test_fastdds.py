"""Tests of the Fast DDS profile."""

from pathlib import Path
from xml.etree import ElementTree

FILE = Path(__file__).parents[2] / 'config' / 'fastdds.xml'
NAMESPACE = {'dds': 'http://www.eprosima.com'}


def test_shared_memory_holds_64_mb():
    root = ElementTree.parse(FILE).getroot()
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
    assert sizes == {'SHM': str(64 * 2**20), 'UDPv4': None}
    used = root.findall('.//dds:userTransports/dds:transport_id', NAMESPACE)
    assert {entry.text for entry in used} == set(transports)
    builtin = root.find('.//dds:useBuiltinTransports', NAMESPACE)
    assert builtin is not None
    assert builtin.text == 'false'


def test_is_the_profile_of_every_participant():
    root = ElementTree.parse(FILE).getroot()
    (participant,) = root.iterfind('.//dds:participant', NAMESPACE)
    assert participant.get('is_default_profile') == 'true'
