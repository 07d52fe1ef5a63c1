"""The commands of the README, as written, in the shells that it names."""

from collections.abc import Callable
import os
from pathlib import Path
import shlex
import subprocess

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / '.venv' / 'bin' / 'mnssd'
# Name to the lines with which such a shell begins.
SHELLS = {
    'venv': f'source {shlex.quote(str(ROOT / ".venv/bin/activate"))}',
    'mnssd.bash': f'source {shlex.quote(str(ROOT / ".venv/mnssd.bash"))}',
    'colcon': f'source {shlex.quote(str(ROOT / "install/setup.bash"))}',
    'none': f'mnssd() {{ {shlex.quote(str(LAUNCHER))} "$@"; }}',
}
# What makes the training of the README small enough for a test.
SMALL = (
    'initial.backbone_weights= input.size=[256,320] input.train_size=[160,200] '
    'model.pyramid_channels=16 model.width_mult=0.25 model.frozen_blocks=0 training.batch_size=4 '
    'training.epochs=1 training.workers=0 training.precision=fp32'
)

Shell = Callable[..., 'subprocess.CompletedProcess[str]']


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Run lines in a shell that knows nothing but what the README has it source."""
    begin = SHELLS[request.param]
    file = Path(shlex.split(begin)[1] if begin.startswith('source') else LAUNCHER)
    if not file.is_file():
        pytest.skip(f'{file.relative_to(ROOT)}: not made by `make setup` in this clone')

    def run(*lines: str, cwd: Path) -> 'subprocess.CompletedProcess[str]':
        env = {name: os.environ[name] for name in ('HOME', 'LANG') if name in os.environ}
        return subprocess.run(
            ['bash', '-c', '\n'.join([begin, 'set -e', *lines])],
            cwd=cwd,
            env={**env, 'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def folder(hit_uav: Path, tmp_path: Path) -> Path:
    """A working folder with what the commands of the README name."""
    (tmp_path / 'DATA').mkdir()
    (tmp_path / 'DATA' / 'hit_uav').symlink_to(hit_uav)
    (tmp_path / 'images').symlink_to(hit_uav / 'JPEGImages')
    codec = cv2.VideoWriter_fourcc(*'mp4v')  # type: ignore[attr-defined]
    video = cv2.VideoWriter(str(tmp_path / 'flight.mp4'), codec, 10, (64, 48))
    for value in (0, 100):
        video.write(np.full((48, 64, 3), value, np.uint8))
    video.release()
    return tmp_path


def readme_commands() -> list[str]:
    """Read the commands of the section on training."""
    section = (ROOT / 'README.md').read_text().split('\n## Train your own\n')[1].split('\n## ')[0]
    return [line.strip() for line in section.splitlines() if line.startswith('    mnssd ')]


def test_the_readme_goes_from_data_to_predictions() -> None:
    assert [command.split()[1] for command in readme_commands()] == [
        'dataset', 'train', 'train', 'evaluate', 'export', 'predict',
    ]  # fmt: skip


@pytest.mark.parametrize('where', ['root', 'elsewhere'])
def test_mnssd_is_found_in_every_shell(shell: Shell, where: str, tmp_path: Path) -> None:
    ran = shell(
        'mnssd --help', 'mnssd config show smoke', cwd=ROOT if where == 'root' else tmp_path
    )
    assert ran.returncode == 0, ran.stdout
    assert all(f'\n  {name} ' in ran.stdout for name in ('demo', 'train', 'evaluate'))
    assert 'id: smoke' in ran.stdout


@pytest.mark.slow
def test_the_commands_of_the_readme_run_as_written(shell: Shell, folder: Path) -> None:
    lines = [
        f'{command} {SMALL}' if command.startswith('mnssd train ') else command
        for command in readme_commands()
    ]
    ran = shell(*lines, cwd=folder)
    assert ran.returncode == 0, ran.stdout
    assert (folder / 'hit_uav-1.0.0.mnssd').is_file()
    assert (folder / 'report.html').is_file()
    assert (folder / 'predictions' / 'detections.jsonl').is_file()
