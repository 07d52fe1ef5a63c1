"""Commands that run in a workspace, and why they may not."""

from pathlib import Path
import subprocess
import sys

from mnssd_workspace import cli
from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.workspace import Workspace
import pytest

TOOLS = Path(__file__).resolve().parents[1]
ROS = (Path('/opt/ros/jazzy'),)
RUN = """
import os, sys
from pathlib import Path
from mnssd_workspace.cli import run_command
from mnssd_workspace.workspace import Workspace
sys.exit(run_command(Workspace(Path(sys.argv[1]), '3.12'), sys.argv[2:], foreground=False))
"""


def make_workspace(root: Path, ros: tuple[Path, ...] = (), *, on_ros: bool = False) -> Workspace:
    workspace = Workspace(root, '3.12', ros)
    workspace.venv.mkdir(parents=True)
    workspace.activation.touch()
    config = f'include-system-site-packages = {str(on_ros).lower()}\n'
    (workspace.venv / 'pyvenv.cfg').write_text(config)
    return workspace


def run(workspace: Workspace, *command: str) -> int:
    return cli.run_command(workspace, list(command), foreground=False)


def test_command_runs_in_the_environment_and_returns_its_status(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    script = 'import os, sys; print(os.environ["VIRTUAL_ENV"], *sys.argv[1:]); sys.exit(7)'
    result = subprocess.run(
        [sys.executable, '-c', RUN, tmp_path, '--', sys.executable, '-c', script, '--verbose'],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (7, f'{workspace.venv} --verbose\n')


def test_command_needs_a_workspace_and_a_program(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match='make it with `make setup`'):
        run(Workspace(tmp_path, '3.12'), 'python')
    workspace = make_workspace(tmp_path)
    with pytest.raises(WorkspaceError, match="got 'no-program', which is not on the PATH"):
        run(workspace, 'no-program')
    with pytest.raises(WorkspaceError, match='expected a command to run, got none'):
        run(workspace, '--')


def test_command_needs_the_ros_of_the_setup(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r'expected no sourced ROS 2, .* got one; '):
        run(make_workspace(tmp_path / '1', ROS), 'python')
    with pytest.raises(WorkspaceError, match=r'expected a sourced ROS 2, .* got none; '):
        run(make_workspace(tmp_path / '2', on_ros=True), 'python')


def test_error_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, '_ROOT', tmp_path)
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    assert cli.main(['run', 'python']) == 1
    assert capsys.readouterr().err.startswith('mnssd: there is no workspace yet')


@pytest.mark.parametrize(
    ('error', 'status', 'message'),
    [
        (OSError(28, 'No space left on device'), 1, 'free some'),
        (PermissionError(13, 'Permission denied', '/x'), 1, "Permission denied: '/x'"),
        (KeyboardInterrupt(), 130, 'interrupted; run it again to continue'),
    ],
)
def test_setup_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def set_up(workspace: Workspace, *, training: bool) -> None:
        assert not training
        raise error

    monkeypatch.setattr(cli, 'set_up', set_up)
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    assert cli.main(['setup', '--without-training']) == status
    assert message in capsys.readouterr().err
