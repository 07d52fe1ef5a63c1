"""Set up a workspace: steps in order, each once for the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import fcntl
import hashlib
import os
from pathlib import Path
import platform
import shutil
import sys
import sysconfig
import time

from mnssd_workspace.host import (
    check_compilers,
    check_disk,
    check_headers,
    check_python,
    check_venv_module,
    WorkspaceError,
)
from mnssd_workspace.install import (
    install,
    install_uv,
    make_venv,
    missing_requirements,
    patch_cmake_files,
    read_requirements,
)
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


@dataclass(frozen=True)
class Step:
    """
    Describe one step of a setup.

    :param inputs: everything that it depends on; a change repeats it and the steps that follow.
    :param action: does the step, whatever an earlier, killed attempt has left behind.
    :param outputs: must exist for the step to count as done.
    """

    name: str
    title: str
    inputs: Sequence[str]
    action: Callable[[], None]
    outputs: Sequence[Path] = ()


def pending_steps(steps: Sequence[Step], stamps: Path) -> list[tuple[Step, str]]:
    """List the steps from the first whose stamp does not fit, with the digests of their inputs."""
    pending: list[tuple[Step, str]] = []
    digest = ''
    for step in steps:  # a digest covers the inputs of the steps before
        text = repr((digest, step.name, [*step.inputs]))
        digest = hashlib.sha256(text.encode()).hexdigest()
        stamp = stamps / step.name
        is_done = stamp.is_file() and stamp.read_text() == digest
        if pending or not is_done or not all(path.exists() for path in step.outputs):
            pending.append((step, digest))
    return pending


def run_steps(steps: Sequence[Step], stamps: Path) -> None:
    """
    Run the steps that are pending.

    A stamp is removed before its step begins and written after it has succeeded: whenever this is
    killed, the next run begins with the step that was interrupted.
    """
    pending = pending_steps(steps, stamps)
    for number, (step, digest) in enumerate(pending, start=1):
        start = time.monotonic()
        print(f'[{number}/{len(pending)}] {step.title} ... ', end='', flush=True)
        (stamps / step.name).unlink(missing_ok=True)
        try:
            step.action()
        except BaseException:
            print('FAILED')
            raise
        stamps.mkdir(parents=True, exist_ok=True)
        (stamps / step.name).write_text(digest)
        print(f'done ({time.monotonic() - start:.1f} s)', flush=True)


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """
    Wait until no other setup is at work on a workspace, and keep others waiting.

    The lock is on the folder itself: the kernel releases it even if this process is killed.
    Supervised commands inherit it and hold it until the last command of a killed setup is gone.
    """
    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'another setup is at work in {root}; waiting for it to end', flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def set_up(workspace: Workspace, *, training: bool) -> None:
    """
    Make a workspace, or what is missing of it.

    :param training: whether to install what training needs; what is there stays there.
    """
    version, has_ros = workspace.version, bool(workspace.ros)
    check_python(sys.version_info[:2], platform.system(), platform.machine(), has_ros=has_ros)
    with lock(workspace.root):
        steps = make_steps(workspace, training=training)
        if pending_steps(steps, workspace.stamps):
            check_venv_module(version)
            check_headers(_INCLUDE, version)
            check_compilers(workspace.environ)
            is_large = training and not (workspace.stamps / 'torch').exists()
            num_bytes = 0 if (workspace.stamps / 'base').exists() else _BASE_BYTES
            num_bytes += _TRAINING_BYTES if is_large else 0
            check_disk(workspace.root, num_bytes, training=is_large)
        run_steps(steps, workspace.stamps)
        workspace.write_activation()


def make_steps(workspace: Workspace, *, training: bool) -> list[Step]:
    """List the steps that make a workspace; those of training come last."""
    ros = workspace.ros
    # Resolved: inside a virtual environment this is the Python that it was made from.
    python = Path(sys.executable).resolve()
    system, wheels = read_requirements('system'), read_requirements('ros')
    tools = read_requirements('runtime', 'develop')

    def install_base() -> None:
        install_uv(workspace)
        if ros:
            install(missing_requirements(system, workspace), workspace)
        else:
            install(system + wheels, workspace)
            patch_cmake_files(workspace.venv / 'share', _INCLUDE, workspace.site)

    def install_step(name: str, title: str, requirements: list[str]) -> Step:
        return Step(name, title, requirements, lambda: install(requirements, workspace))

    def build_step(name: str, *packages: str) -> Step:
        inputs = [text for name in packages for text in package_inputs(workspace.source(name))]
        outputs = [workspace.root / f'install/{p}/share/{p}/package.xml' for p in packages]
        title = f'colcon build of {" and ".join(packages)}'
        return Step(name, title, inputs, lambda: build_packages(packages, workspace), outputs)

    steps = [
        Step(
            'venv',
            f'virtual environment of Python {workspace.version}',
            [str(workspace.root), str(python), sys.version, str(ros)],
            lambda: make_venv(workspace, python),
            [workspace.python],
        ),
        Step(
            'base',
            'missing basics' if ros else 'ROS 2 Jazzy, colcon, cmake, NumPy, OpenCV',
            [*system, *wheels, str(_INCLUDE)],
            install_base,
        ),
        build_step('messages', *workspace.messages),
        install_step('tools', 'ONNX Runtime and the tools of tests', tools),
        build_step('perception', 'mnssd_perception'),
    ]
    if training:
        torch = read_requirements('training')
        steps.append(install_step('torch', 'PyTorch and what training needs', torch))
        steps.append(build_step('training', 'mnssd_training'))
    return steps


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
    command: Command = [
        workspace.python,
        '-c',
        _COLCON,
        '--log-base',
        root / 'log/colcon',
        'build',
    ]
    command += ['--symlink-install', '--base-paths', *map(workspace.source, packages)]
    command += ['--build-base', root / 'build', '--install-base', root / 'install']
    command += ['--event-handlers', 'console_direct+', '--cmake-args', '-GNinja']
    command += ['-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={workspace.python}']
    workspace.run('colcon', command)
    try:
        workspace.run('check', [workspace.python, '-c', _CHECK, *packages])
    except WorkspaceError as error:
        raise WorkspaceError(
            'the workspace was built but does not work; run `make clean` and then this again: '
            f'{error}'
        ) from error
