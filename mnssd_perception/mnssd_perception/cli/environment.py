"""Prepare the environment of nodes that communicate only with each other."""

from collections.abc import Mapping
import os
from pathlib import Path
import random
import socket

# Fast DDS 3 (Kilted and later) and Fast DDS 2 (Humble, Jazzy); each reads one of them only.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')

DOMAINS = range(1, 101)  # domains whose ports lie below the ephemeral ports of Linux

# UDP ports of the first participant of a domain (DDSI-RTPS 2.5, 9.6.2.4).
PORT_BASE, PORTS_PER_DOMAIN, FIRST_PARTICIPANT = 7400, 250, (10, 11)


def isolated_environ(environ: Mapping[str, str], *, profile: bool = True) -> dict[str, str]:
    """
    Prepare an environment with an unused ROS domain on this machine and our Fast DDS profile.

    A domain and a profile that the user has set are kept.
    """
    result = {'PYTHONUNBUFFERED': '1', **environ}
    if not result.get('ROS_DOMAIN_ID'):
        domains = random.sample(DOMAINS, len(DOMAINS))
        unused = next((domain for domain in domains if _is_unused(domain)), domains[0])
        result['ROS_DOMAIN_ID'] = str(unused)
        result.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    path = find_profile(environ)
    if profile and path is not None and not any(environ.get(name) for name in PROFILE_VARIABLES):
        result |= dict.fromkeys(PROFILE_VARIABLES, os.fspath(path))
    return result


def find_profile(environ: Mapping[str, str], name: str = 'fastdds.xml') -> Path | None:
    """Find one of our Fast DDS profiles; None where it is not installed."""
    prefixes = filter(None, environ.get('AMENT_PREFIX_PATH', '').split(':'))
    folders = [Path(prefix) / 'share' / 'mnssd_perception' for prefix in prefixes]
    folders.append(Path(__file__).resolve().parents[2])  # the sources
    paths = (folder / 'config' / name for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _is_unused(domain: int) -> bool:
    for offset in FIRST_PARTICIPANT:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', PORT_BASE + PORTS_PER_DOMAIN * domain + offset))
            except OSError:
                return False
    return True
