"""Run the commands and the Python example of the README; check the links of all documents."""

from collections.abc import Callable
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / 'README.md'
DOCUMENTS = sorted(
    [*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('*/README.md')],
)
LAUNCHER = ROOT / '.venv' / 'bin' / 'mnssd'
# Name of a shell -> the line that sets it up.
SHELLS = {
    'venv': f'source {shlex.quote(str(ROOT / ".venv/bin/activate"))}',
    'mnssd.bash': f'source {shlex.quote(str(ROOT / ".venv/mnssd.bash"))}',
    'colcon': f'source {shlex.quote(str(ROOT / "install/setup.bash"))}',
    'none': f'mnssd() {{ {shlex.quote(str(LAUNCHER))} "$@"; }}',
}
# Makes the training of the README small enough for a test.
SMALL = (
    'initial.backbone_weights= input.size=[256,320] input.train_size=[160,200] '
    'model.pyramid_channels=16 model.width_mult=0.25 model.frozen_blocks=0 training.batch_size=4 '
    'training.epochs=1 training.workers=0 training.precision=fp32 '
    'export.artefacts=[fp32] export.gate.min_map50=0'
)

Shell = Callable[..., 'subprocess.CompletedProcess[str]']


def code_blocks(language: str) -> list[str]:
    return re.findall(rf'^```{language}\n(.*?)^```$', README.read_text(), re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    """List the commands of the README that start with a program, without comments."""
    lines = [line for block in code_blocks('bash') for line in block.splitlines()]
    parts = [part.split('  #')[0].strip() for line in lines for part in line.split(' && ')]
    return [part for part in parts if part.split()[:1] == [program]]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Run lines in a shell that has only what the README sources."""
    setup = SHELLS[request.param]
    file = Path(shlex.split(setup)[1] if setup.startswith('source') else LAUNCHER)
    if not file.is_file():
        pytest.skip(f'{file.relative_to(ROOT)}: not made by `make setup` in this clone')

    def run(*lines: str, cwd: Path) -> 'subprocess.CompletedProcess[str]':
        env = {name: os.environ[name] for name in ('HOME', 'LANG') if name in os.environ}
        return subprocess.run(
            ['bash', '-c', '\n'.join([setup, 'set -e', *lines])],
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
    """Make a working directory with the files that the README names."""
    (tmp_path / 'DATA').mkdir()
    (tmp_path / 'DATA' / 'hit_uav').symlink_to(hit_uav)
    (tmp_path / 'images').symlink_to(hit_uav / 'JPEGImages')
    shutil.copy(sorted((hit_uav / 'JPEGImages').iterdir())[0], tmp_path / 'frame.jpg')
    codec = cv2.VideoWriter_fourcc(*'mp4v')  # type: ignore[attr-defined]
    video = cv2.VideoWriter(str(tmp_path / 'flight.mp4'), codec, 10, (64, 48))
    for value in (0, 100):
        video.write(np.full((48, 64, 3), value, np.uint8))
    video.release()
    return tmp_path


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_point_to_existing_files_and_headings(document: Path) -> None:
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', document.read_text()):
        if link.startswith(('http://', 'https://', 'mailto:')):
            continue
        target, _, anchor = link.partition('#')
        path = (document.parent / target).resolve() if target else document
        if not path.exists() or (anchor and anchor not in headings(path)):
            broken.append(link)
    assert broken == []


def headings(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a document."""
    titles = re.findall(r'^#+ (.+)$', document.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_make_commands_of_the_readme_exist() -> None:
    assert {command.split()[1] for command in commands('make')} == {'demo', 'test', 'setup'}
    for command in commands('make'):
        subprocess.run(['make', '-n', *command.split()[1:]], cwd=ROOT, check=True)


def test_readme_goes_from_dataset_to_predictions() -> None:
    assert [command.split()[1] for command in commands('mnssd')] == [
        'dataset', 'train', 'evaluate', 'export', 'predict', 'bundle', 'benchmark',
    ]  # fmt: skip


def test_python_example_of_the_readme_prints_detections(folder: Path) -> None:
    (example,) = code_blocks('python')
    result = subprocess.run(
        [sys.executable, '-c', example], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.match(r'(Person|Car|Bicycle|OtherVehicle) [01]\.\d+ \[', result.stdout)


def test_launch_command_of_the_readme_is_accepted(tmp_path: Path) -> None:
    if not shutil.which('ros2'):
        pytest.skip('the ros2 command is not installed')
    (launch,) = [command for command in commands('ros2') if command.split()[1] == 'launch']
    subprocess.run([*shlex.split(launch), '--show-args'], cwd=tmp_path, check=True)


@pytest.mark.parametrize('where', ['root', 'elsewhere'])
def test_mnssd_runs_in_every_shell(shell: Shell, where: str, tmp_path: Path) -> None:
    result = shell(
        'mnssd --help', 'mnssd config show smoke', cwd=ROOT if where == 'root' else tmp_path
    )
    assert result.returncode == 0, result.stdout
    assert all(f'\n  {name} ' in result.stdout for name in ('demo', 'train', 'evaluate'))
    assert 'id: smoke' in result.stdout


@pytest.mark.slow
def test_mnssd_commands_of_the_readme_run_as_written(shell: Shell, folder: Path) -> None:
    lines = [
        f'{command} {SMALL}' if command.startswith('mnssd train ') else command
        for command in commands('mnssd')
    ]
    result = shell(*lines, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert (folder / 'hit_uav-1.0.0.mnssd').is_file()
    assert (folder / 'report.html').is_file()
    assert (folder / 'predictions' / 'detections.jsonl').is_file()
