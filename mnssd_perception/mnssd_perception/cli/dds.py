"""The environment in which processes meet on a DDS graph of their own."""

from collections.abc import Mapping
import errno
import os
from pathlib import Path
import socket

import mnssd_perception

__all__ = ['dds_environment', 'fastdds_profile', 'free_domain']

PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'

# Ports of the first participant of a domain (DDSI-RTPS 2.5, 9.6.2.3). Domains above 101 reach
# into the ports that Linux gives to clients.
FIRST_PORT, PORTS_A_DOMAIN, UNICAST_OFFSET = 7400, 250, 10
LAST_DOMAIN = 101


def dds_environment(env: Mapping[str, str], *, profile: bool = True) -> dict[str, str]:
    """
    Prepare the environment of processes that talk with one another.

    :param env: of this process; a domain or a profile set in it stays.
    :param profile: whether Fast DDS gets the profile for large images; False removes any.
    :return: the environment, with the user's domain or a free one.
    """
    ours = dict(env)
    ours.setdefault('ROS_DOMAIN_ID', str(free_domain()))
    if not profile:
        ours.pop(PROFILE_VARIABLE, None)
        ours.pop(OLD_PROFILE_VARIABLE, None)
    elif OLD_PROFILE_VARIABLE not in ours and (path := fastdds_profile(env)) is not None:
        ours.setdefault(PROFILE_VARIABLE, str(path))
    return ours


def fastdds_profile(env: Mapping[str, str]) -> Path | None:
    """
    Find the Fast DDS profile that we ship.

    :param env: names the prefixes where packages are installed.
    :return: its path, in the share folder of the package or else beside the sources; None where
        it is in neither.
    """
    name = mnssd_perception.__name__
    prefixes = [Path(path) for path in env.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if path]
    folders = [prefix / 'share' / name for prefix in prefixes]
    folders.append(Path(mnssd_perception.__file__).parents[1])
    paths = (folder / 'config' / 'fastdds.xml' for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def free_domain() -> int:
    """
    Find a DDS domain that nobody on this machine uses.

    :return: the domain; the search begins at one that depends on the process, so that two of us
        do not meet.
    """
    domains = [1 + (os.getpid() + step) % LAST_DOMAIN for step in range(LAST_DOMAIN)]
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    """Say whether nobody listens on the port of the first participant of a domain."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', FIRST_PORT + PORTS_A_DOMAIN * domain + UNICAST_OFFSET))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
