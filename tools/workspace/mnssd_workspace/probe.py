"""A built workspace to the assurance that it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import subprocess

from mnssd_workspace.errors import BrokenBuildError
from mnssd_workspace.layout import Layout

__all__ = ['probe_workspace']

_PROBE = """
import sys
from rclpy.serialization import deserialize_message, serialize_message
from mnssd_msgs.msg import DetectorStatus
from vision_msgs.msg import Detection2D, Detection2DArray
array = Detection2DArray(detections=[Detection2D(id='7')])
assert deserialize_message(serialize_message(array), Detection2DArray) == array
status = DetectorStatus(state='running')
assert deserialize_message(serialize_message(status), DetectorStatus) == status
for name in sys.argv[1:]:
    __import__(name)
"""
_TIMEOUT = 120


def probe_workspace(layout: Layout, modules: Sequence[str], env: Mapping[str, str]) -> None:
    """
    Import what was built, and send messages through the middleware's serialisation.

    :param layout: of the workspace.
    :param modules: names of Python modules that must be importable.
    :param env: the workspace's environment variables.
    :raises BrokenBuildError: if that fails.
    """
    try:
        tried = subprocess.run(
            [os.fspath(layout.python), '-c', _PROBE, *modules],
            cwd=Path('/'),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokenBuildError(f'its imports took more than {_TIMEOUT} s') from error
    if tried.returncode:
        raise BrokenBuildError((tried.stderr.strip().splitlines() or ['no output'])[-1])
