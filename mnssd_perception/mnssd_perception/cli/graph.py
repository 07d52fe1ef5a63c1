"""The environment of nodes that talk with each other and with nobody else."""

from collections.abc import Mapping
import os
from pathlib import Path
import random
import socket

# Fast DDS 3 (Kilted and later) and Fast DDS 2 (Humble, Jazzy); each reads one of them only.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')

# Domains whose ports lie below those that Linux hands out by itself.
DOMAINS = range(1, 101)

# Ports of DDS: the first participant of a domain (DDSI-RTPS 2.5, 9.6.2.4).
PORT_BASE, PORTS_A_DOMAIN, FIRST_PARTICIPANT = 7400, 250, (10, 11)


def isolated_environ(environ: Mapping[str, str], *, profile: bool = True) -> dict[str, str]:
    """
    Prepare an environment for nodes on this machine.

    What the user has set stays: the domain, and the profile of Fast DDS.

    :param environ: to start from.
    :param profile: whether to apply our profile of Fast DDS.
    :return: the environment, with a domain that nobody uses.
    """
    result = {'PYTHONUNBUFFERED': '1', **environ}
    if not result.get('ROS_DOMAIN_ID'):
        result['ROS_DOMAIN_ID'] = str(_free_domain())
        result.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    path = profile_path(environ)
    if profile and path is not None and not any(environ.get(name) for name in PROFILE_VARIABLES):
        result |= dict.fromkeys(PROFILE_VARIABLES, os.fspath(path))
    return result


def profile_path(environ: Mapping[str, str], name: str = 'fastdds.xml') -> Path | None:
    """
    Find a profile of Fast DDS that comes with mnssd.

    :param environ: tells where packages are installed.
    :param name: of the file.
    :return: its path, or None where it was not installed.
    """
    prefixes = filter(None, environ.get('AMENT_PREFIX_PATH', '').split(':'))
    places = [Path(prefix) / 'share' / 'mnssd_perception' for prefix in prefixes]
    places.append(Path(__file__).resolve().parents[2])  # the source
    found = (place / 'config' / name for place in places)
    return next((path for path in found if path.is_file()), None)


def _free_domain() -> int:
    """Choose a domain in which no other node runs on this machine."""
    domains = list(DOMAINS)
    random.shuffle(domains)
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    """Say whether the ports of a domain's first participant can be had."""
    for offset in FIRST_PARTICIPANT:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', PORT_BASE + PORTS_A_DOMAIN * domain + offset))
            except OSError:
                return False
    return True
