"""Tests of how a process of nodes ends, in child processes."""

import signal
import subprocess

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
def start(start_process):
    """Start a script that calls :func:`run`."""
    return lambda script: start_process('-c', f'{HEAD}\n{script}', stderr=subprocess.PIPE)


def run_to_end(child):
    """Return the exit code and what was written to stderr."""
    _, errors = child.communicate(timeout=PATIENCE)
    return child.returncode, errors


def test_process_without_nodes_ends_with_0(start):
    script = 'sys.exit(run(lambda done: done.set_result(None) or []))'
    assert run_to_end(start(script)) == (0, '')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_process_with_0(start, number):
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
def test_hung_main_thread_is_named_and_killed(start, hang, number):
    child = start(f"""
def warm_up():
    ready()
    {hang}
sys.exit(run(lambda done: warm_up(), shutdown_timeout=0.5))
""")
    assert child.stdout.readline() == 'ready\n'
    child.send_signal(number)
    code, errors = run_to_end(child)
    assert code == 1
    assert 'within 0.5 s' in errors
    assert 'warm_up (' in errors


def test_node_that_hangs_while_destroyed_is_killed(start):
    child = start("""
at_end = threading.Semaphore(0).acquire
def build(done):
    node = Tested('tested')
    ready()
    return [node]
sys.exit(run(build, shutdown_timeout=0.5))
""")
    assert child.stdout.readline() == 'ready\n'
    child.send_signal(signal.SIGTERM)
    code, errors = run_to_end(child)
    assert code == 1
    assert 'destroy_node (' in errors


def test_hung_thread_is_named_and_killed_at_once(start):
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
sys.exit(run(build, shutdown_timeout=1000.0))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert 'the engine hangs' in errors
    assert 'detector: ' in errors
    assert 'work (' in errors


def test_nodes_are_destroyed_in_reverse_order_also_when_one_fails(start):
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


def test_startup_error_is_one_sanitized_line_and_code_2(start):
    child = start(r"""
def build(done):
    raise MnssdError('expected a bundle\n[FATAL] \x1b[31m')
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 2
    assert errors.count('\n') == 1
    assert r'expected a bundle\n[FATAL] \x1b' in errors


def test_error_after_the_start_ends_the_process_with_1(start):
    child = start("""
def build(done):
    done.set_exception(MnssdError('expected a disk'))
    return []
sys.exit(run(build))
""")
    code, errors = run_to_end(child)
    assert code == 1
    assert 'expected a disk' in errors


def test_unexpected_error_is_logged_with_its_traceback(start):
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


# Errors of threads once the context is invalid.


@pytest.mark.parametrize('kind', ['MnssdError', 'RuntimeError'])
def test_exception_set_after_a_signal_is_ignored(start, kind):
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


def test_unexpected_error_after_a_signal_is_ignored(start):
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


def test_error_in_destroy_node_counts_also_after_a_signal(start):
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
