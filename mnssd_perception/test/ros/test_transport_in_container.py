"""Tests of the transport in a container's ``/dev/shm``: a small tmpfs in a mount namespace."""

import json
import os
from pathlib import Path
import subprocess
import sys

from mnssd_perception.cli.environment import isolated_environ, PROFILE_VARIABLES
import pytest

pytest.importorskip('rclpy')

PATIENCE = 120  # s
MB = 10**6

MOUNT = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'
PROFILE = Path(__file__).parents[2] / 'config' / 'fastdds.xml'

# Plays 720p at 15 Hz from a camera to this process and to a third one, until shared memory is
# reported or enough images have arrived.
SCRIPT = """
import json, os, subprocess, sys
from pathlib import Path
from diagnostic_msgs.msg import DiagnosticArray
from mnssd_perception.ros import qos
from mnssd_perception.ros.transport import read_shared_memory
import rclpy
from sensor_msgs.msg import Image

SUBSCRIBER = '''
import rclpy
from mnssd_perception.ros import qos
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('subscriber')
node.create_subscription(Image, 'image', lambda _: None, qos.image_in())
rclpy.spin(node)
'''

nodes = [sys.executable, '-c', SUBSCRIBER], [
    sys.executable, '-m', 'mnssd_perception.nodes.camera_node', '--ros-args',
    '-p', 'source:=synthetic:width=1280,height=720', '-p', 'rate:=15.0',
    '-p', 'wait_for_subscribers:=2',
]
rclpy.init()
node = rclpy.create_node('tester')
images, messages = [], []
node.create_subscription(Image, 'image', images.append, qos.image_in())
node.create_subscription(
    DiagnosticArray,
    '/diagnostics',
    lambda msg: messages.extend(s.message for s in msg.status if s.name.startswith('camera:')),
    qos.detections(),
)
children = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in nodes]
try:
    while len(images) < 30 and not any('shared memory' in message for message in messages):
        rclpy.spin_once(node, timeout_sec=1.0)
    result = {
        'images': len(images),
        'message': messages[-1] if messages else '',
        'segment': read_shared_memory(rclpy.get_rmw_implementation_identifier()).segment,
        'sizes': [path.stat().st_size for path in Path('/dev/shm').iterdir()],
    }
finally:
    for child in children:
        child.kill()
        child.wait()
print(json.dumps(result), flush=True)
os._exit(0)  # the middleware of a full /dev/shm can crash at the end of the interpreter
"""


def can_mount() -> bool:
    """Tell whether this user may mount a file system."""
    try:
        ran = subprocess.run(
            ['unshare', '-m', 'sh', '-c', MOUNT, '1m', 'true'], capture_output=True, check=False
        )
    except OSError:
        return False
    return ran.returncode == 0


def play(size: str) -> dict:
    """Play images in a ``/dev/shm`` of some size."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in ('ROS_DOMAIN_ID', *PROFILE_VARIABLES)
    }
    environ['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))
    environ |= dict.fromkeys(PROFILE_VARIABLES, str(PROFILE))
    ran = subprocess.run(
        ['unshare', '-m', 'sh', '-c', MOUNT, size, sys.executable, '-c', SCRIPT],
        env=isolated_environ(environ),
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(not can_mount(), reason='needs unshare -m and mount'),
]


def test_three_processes_get_shared_memory_in_64_mb() -> None:
    result = play('64m')
    assert result['images'] == 30
    assert 'shared memory' not in result['message']
    assert result['segment'] > 16 * MB
    assert sum(size > 16 * MB for size in result['sizes']) == 3


def test_too_little_shared_memory_is_reported_with_a_hint() -> None:
    result = play('8m')
    # Fast DDS falls back to UDP, or to the small segment of LOCALHOST discovery.
    assert result['segment'] < MB
    assert 'shared memory' in result['message']
    assert '/dev/shm has' in result['message']
    assert '--shm-size=256m' in result['message']
