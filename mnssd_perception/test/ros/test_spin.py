"""Tests of how a process of nodes ends, in processes of their own."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip('rclpy')

pytestmark = pytest.mark.ros

DOMAIN = 71

# Longer than any machine takes, and shorter than the hanging lasts [s].
PATIENCE = 100

HEAD = """
import ctypes, os, signal, sys, threading, time
import rclpy
from mnssd_perception.errors import HungError, MnssdError
from mnssd_perception.ros.spin import run
from rclpy.node import Node

MUTEX = ctypes.create_string_buffer(64)

def ready():
    print('ready', flush=True)

class Tested(Node):
    def destroy_node(self):
        at_end()
        super().destroy_node()

def at_end():
    pass
"""


@pytest.fixture
def start(tmp_path):
    """Start a script that calls :func:`run`, and wait until it says that it is ready."""
    started = []

    def start(script):
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
            'ROS_DOMAIN_ID': str(DOMAIN),
            'ROS_LOG_DIR': str(tmp_path),
        }
        started.append(
            subprocess.Popen(
                [sys.executable, '-c', f'{HEAD}\n{script}'],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def run_to_end(child):
    """Return the exit code and what was written to stderr."""
    _, errors = child.communicate(timeout=PATIENCE)
    return child.returncode, errors


def test_no_nodes(start):
    script = 'sys.exit(run(lambda done: done.set_result(None) or []))'
    assert run_to_end(start(script)) == (0, '')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(start, number):
    child = start("""
class Ready(Tested):
    def __init__(self):
        super().__init__('ready')
        self.create_timer(0.01, ready)
sys.exit(run(lambda done: [Ready()]))
""")
    assert child.stdout.readline() == 'ready\n'
    child.send_signal(number)
    assert run_to_end(child) == (0, '')


HANGS = {
    'in Python': 'while True: pass',
    'in C': 'lock = ctypes.CDLL(None).pthread_mutex_lock; lock(MUTEX); lock(MUTEX)',
    'in a lock': 'threading.Semaphore(0).acquire()',
}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('hang', HANGS.values(), ids=HANGS)
def test_a_main_thread_that_hangs_is_named_and_ended(start, hang, number):
    child = start(f"""
def warm_up():
    ready()
    {hang}
sys.exit(run(lambda done: warm_up(), grace=0.5))
""")
    assert child.stdout.readline() == 'ready\n'
    child.send_signal(number)
    code, errors = run_to_end(child)
    assert code == 1
    assert 'within 0.5 s' in errors
    assert 'warm_up (' in errors


def test_a_node_that_hangs_while_it_is_destroyed_is_ended(start):
    child = start("""
at_end = threading.Semaphore(0).acquire
def build(done):
    node = Tested('tested')
    ready()
    return [node]
sys.exit(run(build, grace=0.5))
""")
    assert child.stdout.readline() == 'ready\n'
    child.send_signal(signal.SIGTERM)
    code, errors = run_to_end(child)
    assert code == 1
    assert 'destroy_node (' in errors


def test_a_thread_that_hangs_is_named_and_ended_at_once(start):
    child = start("""
def at_end():
    raise HungError('the engine hangs')
def work():
    threading.Semaphore(0).acquire()
def build(done):
    # Not a daemon: an ordinary exit would wait for it.
    threading.Thread(target=work, name='detector').start()
    done.set_result(None)
    return [Tested('tested')]
sys.exit(run(build, grace=1000.0))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert 'the engine hangs' in errors
    assert 'detector: ' in errors
    assert 'work (' in errors


def test_all_nodes_are_destroyed_in_reverse_order_also_when_one_fails(start):
    child = start("""
order = []
class Noting(Tested):
    def destroy_node(self):
        name = self.get_name()
        order.append(name)
        super().destroy_node()
        if name == 'second':
            raise MnssdError('expected a disk')
def build(done):
    done.set_result(None)
    return [Noting('first'), Noting('second'), Noting('third')]
code = run(build)
print(order, flush=True)
sys.exit(code)
""")
    assert child.stdout.readline() == "['third', 'second', 'first']\n"
    code, errors = run_to_end(child)
    assert code == 1
    assert 'expected a disk' in errors


def test_an_expected_error_is_one_safe_line(start):
    child = start(r"""
def build(done):
    raise MnssdError('expected a bundle\n[FATAL] \x1b[31m')
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert errors.count('\n') == 1
    assert r'expected a bundle\n[FATAL] \x1b' in errors


def test_an_unexpected_error_is_logged_with_its_place(start):
    child = start("""
def build(done):
    done.set_exception(KeyError('oops'))
    return []
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert '[FATAL]' in errors
    assert "KeyError: 'oops'" in errors


# What threads stumble over once the context is invalid.


@pytest.mark.parametrize('kind', ['MnssdError', 'RuntimeError'])
def test_a_failure_that_is_set_after_a_signal_is_none(start, kind):
    child = start(f"""
def build(done):
    os.kill(os.getpid(), signal.SIGTERM)
    while rclpy.ok():
        time.sleep(0.001)
    done.set_exception({kind}('context is invalid'))
    return []
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 0, errors


def test_an_unexpected_error_after_a_signal_is_none(start):
    child = start("""
def build(done):
    os.kill(os.getpid(), signal.SIGTERM)
    while rclpy.ok():
        time.sleep(0.001)
    raise RuntimeError('context is invalid')
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 0, errors


def test_an_expected_error_at_the_end_counts_also_after_a_signal(start):
    child = start("""
def at_end():
    raise MnssdError('expected a disk')
def build(done):
    node = Tested('tested')
    os.kill(os.getpid(), signal.SIGTERM)
    return [node]
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert 'expected a disk' in errors
