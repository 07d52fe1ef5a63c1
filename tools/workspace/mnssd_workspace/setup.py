"""Set up a workspace: steps in order, each once for the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import fcntl
import hashlib
import os
from pathlib import Path
import platform
import shutil
import sys
import sysconfig
import time

from mnssd_workspace import host, install
from mnssd_workspace.process import Command
from mnssd_workspace.workspace import Workspace

# Disk space of the packages of ROS 2 and the tools, and of what training needs, with a reserve.
_BASE_BYTES, _TRAINING_BYTES = 1_000_000_000, 7_000_000_000
_INCLUDE = Path(sysconfig.get_config_var('INCLUDEPY'))
_COLCON = 'import sys; from colcon_core.command import main; sys.exit(main())'
# What colcon copies or generates from. Python sources, launch and configuration files are linked:
# of these only the names count.
_COPIED = ('package.xml', 'setup.*', 'CMakeLists.txt', 'msg/*', 'srv/*', 'action/*')
_LINKED = ('launch/*', 'config/*', 'resource/*')
_CHECK = """
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


class Steps:
    """
    Run steps in order, from the first whose inputs have changed.

    Each step has a stamp: a digest of its inputs and of those of the steps before. It is removed
    before the step begins and written after it has succeeded: whenever a setup is killed, the next
    one begins with the step that was interrupted.

    :param check: raises what the steps would fail of; called before the first that runs.
    """

    def __init__(self, folder: Path, check: Callable[[], None]) -> None:
        self._folder, self._check = folder, check
        self._digest = ''
        self._is_running = False

    def run(
        self,
        name: str,
        title: str,
        inputs: Sequence[str],
        action: Callable[[], None],
        outputs: Sequence[Path] = (),
    ) -> None:
        """
        Run a step unless it was done with these inputs and its outputs exist.

        :param action: does the step, whatever a killed attempt has left behind.
        """
        text = repr((self._digest, name, [*inputs]))
        self._digest = hashlib.sha256(text.encode()).hexdigest()
        stamp = self._folder / name
        if not self._is_running:
            is_stamped = stamp.is_file() and stamp.read_text() == self._digest
            if is_stamped and all(path.exists() for path in outputs):
                return
            self._check()
            self._is_running = True
        start = time.monotonic()
        print(f'{title} ... ', end='', flush=True)
        stamp.unlink(missing_ok=True)
        try:
            action()
        except BaseException:
            print('FAILED', flush=True)
            raise
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(self._digest)
        print(f'done ({time.monotonic() - start:.1f} s)', flush=True)


def lock(root: Path) -> None:
    """
    Wait until no other setup is at work on a workspace, and keep others waiting.

    The lock is on the folder itself: the kernel releases it when this process ends or is killed.
    Supervised commands inherit it and hold it until the last command of a killed setup is gone.
    """
    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f'another setup is at work in {root}; waiting for it to end', flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)


def set_up(workspace: Workspace, *, training: bool) -> None:
    """Make a workspace, or what is missing of it; what is installed for training stays."""
    machine = platform.system(), platform.machine()
    host.check_python(sys.version_info[:2], machine, has_ros=bool(workspace.ros))

    def check() -> None:
        host.check_venv_module(workspace.version)
        host.check_headers(_INCLUDE, workspace.version)
        host.check_compilers(workspace.environ)
        needs_base = not (workspace.stamps / 'base').exists()
        needs_torch = training and not (workspace.stamps / 'torch').exists()
        num_bytes = needs_base * _BASE_BYTES + needs_torch * _TRAINING_BYTES
        host.check_disk(workspace.root, num_bytes, training=needs_torch)

    lock(workspace.root)
    run_steps(workspace, Steps(workspace.stamps, check), training=training)
    workspace.write_activation()


def run_steps(workspace: Workspace, steps: Steps, *, training: bool) -> None:
    """Run the steps that make a workspace; those of training come last."""
    ros = workspace.ros
    # Resolved: inside a virtual environment this is the Python that it was made from.
    python = Path(sys.executable).resolve()
    system, wheels = install.read_requirements('system'), install.read_requirements('ros')

    def make_venv() -> None:
        install.make_venv(workspace, python)

    def install_base() -> None:
        install.install_uv(workspace)
        if ros:
            install.install(install.missing_requirements(system, workspace), workspace)
        else:
            install.install(system + wheels, workspace)
            install.patch_cmake_files(workspace.venv / 'share', _INCLUDE, workspace.site)

    def install_groups(name: str, title: str, *groups: str) -> None:
        requirements = install.read_requirements(*groups)
        steps.run(name, title, requirements, lambda: install.install(requirements, workspace))

    def build(name: str, *packages: str) -> None:
        title = f'colcon build of {" and ".join(packages)}'
        inputs = [text for p in packages for text in package_inputs(workspace.source(p))]
        outputs = [workspace.root / f'install/{p}/share/{p}/package.xml' for p in packages]
        steps.run(name, title, inputs, lambda: build_packages(packages, workspace), outputs)

    title = f'virtual environment of Python {workspace.version}'
    inputs = [str(workspace.root), str(python), sys.version, str(ros)]
    steps.run('venv', title, inputs, make_venv, [workspace.python])
    title = 'missing basics' if ros else 'ROS 2 Jazzy, colcon, cmake, NumPy, OpenCV'
    steps.run('base', title, [*system, *wheels, str(_INCLUDE)], install_base)
    build('messages', *workspace.messages)
    install_groups('tools', 'ONNX Runtime and the tools of tests', 'runtime', 'develop')
    build('perception', 'mnssd_perception')
    if training:
        install_groups('torch', 'PyTorch and what training needs', 'training')
        build('training', 'mnssd_training')


def package_inputs(source: Path) -> list[str]:
    """List the contents and names of files that make a new build of a package necessary."""
    copied = [path for pattern in _COPIED for path in sorted(source.glob(pattern))]
    linked = [path for pattern in _LINKED for path in sorted(source.glob(pattern))]
    return [*(f'{path} {path.read_bytes()!r}' for path in copied), *map(str, linked)]


def build_packages(packages: Sequence[str], workspace: Workspace) -> None:
    """Build packages from nothing, so that no part of an earlier build remains, and try them."""
    root = workspace.root
    unused = {'vision_msgs'} - {*workspace.messages}
    for package in (*packages, *unused):
        shutil.rmtree(root / 'build' / package, ignore_errors=True)
        shutil.rmtree(root / 'install' / package, ignore_errors=True)
    command: Command = [workspace.python, '-c', _COLCON, '--log-base', root / 'log/colcon']
    command += ['build', '--symlink-install', '--base-paths', *map(workspace.source, packages)]
    command += ['--build-base', root / 'build', '--install-base', root / 'install']
    command += ['--event-handlers', 'console_direct+', '--cmake-args', '-GNinja']
    command += ['-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={workspace.python}']
    workspace.run('colcon', command)
    try:
        workspace.run('check', [workspace.python, '-c', _CHECK, *packages])
    except host.WorkspaceError as error:
        raise host.WorkspaceError(
            'the workspace was built but does not work; run `make clean` and then this again: '
            f'{error}'
        ) from error
