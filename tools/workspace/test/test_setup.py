"""Steps that are killed anywhere, the lock, and the list of steps for a machine."""

from dataclasses import dataclass, field
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from typing import Any

from hypothesis import given, strategies
from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.setup import package_inputs, run_steps, Steps
from mnssd_workspace.workspace import Workspace
import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = Path(__file__).resolve().parents[1]
NAMES = ('venv', 'base', 'messages', 'tools', 'perception')


class Killed(BaseException):
    """A SIGKILL, as far as one process can simulate it: no code handles it."""


@dataclass
class Machine:
    """A folder in which each step writes a file from its input and the files before it."""

    folder: Path
    inputs: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, '1'))
    log: list[str] = field(default_factory=list)
    fail: str = ''
    kill_at: int = -1
    ticks: int = 0

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks - 1 == self.kill_at:
            raise Killed

    def content(self, name: str) -> str:
        return ','.join(self.inputs[each] for each in NAMES[: NAMES.index(name) + 1])

    def do(self, name: str) -> None:
        if name == self.fail:
            raise WorkspaceError(name)
        self.log.append(name)
        path = self.folder / name
        for before in NAMES[: NAMES.index(name)]:
            assert (self.folder / before).read_text() == self.content(before)
        path.write_text('')
        for letter in self.content(name):
            self.tick()
            with path.open('a') as file:
                file.write(letter)
        self.tick()

    def run(self) -> list[str]:
        """Run the steps; return the names of those that were done."""
        self.log.clear()
        steps = Steps(self.folder / 'stamps', lambda: self.log.append('check'))
        for name in NAMES:
            steps.run(
                name,
                name,
                [self.inputs[name]],
                lambda name=name: self.do(name),  # type: ignore[misc]
                [self.folder / name],
            )
        assert all((self.folder / name).read_text() == self.content(name) for name in NAMES)
        return self.log


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_every_step_runs_once_in_order_after_the_check(machine: Machine) -> None:
    assert machine.run() == ['check', *NAMES]
    assert machine.run() == []


def test_change_repeats_its_step_and_those_that_follow(machine: Machine) -> None:
    machine.run()
    machine.inputs['tools'] = '2'
    assert machine.run() == ['check', 'tools', 'perception']


def test_lost_output_is_made_again(machine: Machine) -> None:
    machine.run()
    (machine.folder / 'perception').unlink()
    assert machine.run() == ['check', 'perception']


def test_failed_step_runs_again(machine: Machine) -> None:
    machine.fail = 'base'
    with pytest.raises(WorkspaceError, match='base'):
        machine.run()
    assert machine.log == ['check', 'venv']
    machine.fail = ''
    assert machine.run() == ['check', *NAMES[1:]]


@given(
    kills=strategies.lists(strategies.integers(0, 60), max_size=4),
    change=strategies.sampled_from((None, *NAMES)),
)
def test_next_run_repairs_what_was_killed(kills: list[int], change: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        for number, kill in enumerate(kills):
            if change and number == 1:
                machine.inputs[change] = '2'
            machine.kill_at, machine.ticks = kill, 0
            try:
                machine.run()
            except Killed:
                continue
        machine.kill_at = -1
        machine.run()
        assert machine.run() == []


def stamp(folder: Path, inputs: list[str]) -> str:
    Steps(folder, lambda: None).run('step', 'step', inputs, lambda: None)
    return (folder / 'step').read_text()


def test_different_inputs_have_different_stamps(tmp_path: Path) -> None:
    series = [[], [''], ['', ''], ['a', 'b'], ['ab'], ['ab', ''], ['b', 'a']]
    assert len({stamp(tmp_path, inputs) for inputs in series}) == len(series)


def test_content_of_copied_and_names_of_linked_files_count(tmp_path: Path) -> None:
    (tmp_path / 'launch').mkdir()
    inputs = [package_inputs(tmp_path)]
    for name, text in (('setup.py', ''), ('setup.py', 'x'), ('launch/a.py', '')):
        (tmp_path / name).write_text(text)
        inputs.append(package_inputs(tmp_path))
    assert len({str(each) for each in inputs}) == 4
    (tmp_path / 'launch/a.py').write_text('x')
    (tmp_path / 'package.py').touch()
    assert package_inputs(tmp_path) == inputs[-1]


LOCK = """
import sys
from pathlib import Path
from mnssd_workspace.setup import lock
lock(Path(sys.argv[1]))
print('locked', flush=True)
input()
"""


def start_lock(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', LOCK, str(folder)],
        cwd=TOOLS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_second_setup_waits_until_the_first_is_killed(tmp_path: Path) -> None:
    with start_lock(tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == 'locked\n'
        with start_lock(tmp_path) as second:
            assert second.stdout is not None
            assert 'another setup is at work' in second.stdout.readline()
            first.send_signal(signal.SIGKILL)
            assert second.stdout.readline() == 'locked\n'
            second.kill()
    assert list(tmp_path.iterdir()) == []


class Recorder(Steps):
    """Steps that are recorded instead of run."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, list[str]]] = []

    def run(self, name: str, title: str, inputs: Any, *_: Any) -> None:
        self.steps.append((name, title, [*inputs]))


def record(
    ros: tuple[Path, ...] = (), *, training: bool = True
) -> list[tuple[str, str, list[str]]]:
    recorder = Recorder()
    run_steps(Workspace(ROOT, '3.12', ros), recorder, training=training)
    return recorder.steps


def test_steps_without_training_are_the_first_of_all_steps() -> None:
    steps, small = record(), record(training=False)
    assert steps[: len(small)] == small
    assert [name for name, _, _ in steps[len(small) :]] == ['torch', 'training']
    assert not any(line.startswith('torch==') for _, _, inputs in small for line in inputs)


def test_vision_msgs_is_built_only_where_ros_has_none(tmp_path: Path) -> None:
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    assert 'vision_msgs and mnssd_msgs' in str(record((tmp_path,)))
    (index / 'vision_msgs').touch()
    assert 'vision_msgs' not in ''.join(title for _, title, _ in record((tmp_path,)))


def test_another_ros_repeats_every_step(tmp_path: Path) -> None:
    assert record()[0] != record((tmp_path,))[0]
