"""Steps that are killed anywhere, the lock, and the list of steps for a machine."""

from dataclasses import dataclass, field
from pathlib import Path
import signal
import subprocess
import sys
import tempfile

from hypothesis import given, strategies
from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.setup import make_steps, package_inputs, pending_steps, run_steps, Step
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
    kill_at: int = -1
    ticks: int = 0

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks - 1 == self.kill_at:
            raise Killed

    def content(self, name: str) -> str:
        return ','.join(self.inputs[each] for each in NAMES[: NAMES.index(name) + 1])

    def do(self, name: str) -> None:
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

    def steps(self) -> list[Step]:
        return [
            Step(
                name,
                name,
                [self.inputs[name]],
                lambda name=name: self.do(name),  # type: ignore[misc]
                [self.folder / name],
            )
            for name in NAMES
        ]

    def run(self) -> list[str]:
        """Run the steps; return the names of those that were done."""
        self.log.clear()
        run_steps(self.steps(), self.folder / 'stamps')
        assert all((self.folder / name).read_text() == self.content(name) for name in NAMES)
        return self.log


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_every_step_runs_once_in_order(machine: Machine) -> None:
    assert machine.run() == [*NAMES]
    assert machine.run() == []


def test_change_repeats_its_step_and_those_that_follow(machine: Machine) -> None:
    machine.run()
    machine.inputs['tools'] = '2'
    assert machine.run() == ['tools', 'perception']


def test_lost_output_is_made_again(machine: Machine) -> None:
    machine.run()
    (machine.folder / 'perception').unlink()
    assert machine.run() == ['perception']


def test_failure_stops_the_steps_that_follow(machine: Machine) -> None:
    def fail() -> None:
        raise WorkspaceError('no')

    steps = machine.steps()
    steps[1] = Step('base', 'base', [], fail)
    with pytest.raises(WorkspaceError, match='no'):
        run_steps(steps, machine.folder / 'stamps')
    assert machine.log == ['venv']
    assert machine.run() == [*NAMES[1:]]


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


@pytest.mark.parametrize(
    'inputs', [[], [''], ['', ''], ['a', 'b'], ['ab'], ['ab', ''], ['b', 'a']]
)
def test_inputs_are_told_apart(tmp_path: Path, inputs: list[str]) -> None:
    digests = [
        pending_steps([Step('step', 'step', each, lambda: None)], tmp_path)[0][1]
        for each in (inputs, ['a'])
    ]
    assert digests[0] != digests[1]


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
with lock(Path(sys.argv[1])):
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


def test_steps_without_training_are_the_first_of_all_steps() -> None:
    workspace = Workspace(ROOT, '3.12')
    steps = [(step.name, step.inputs) for step in make_steps(workspace, training=True)]
    small = [(step.name, step.inputs) for step in make_steps(workspace, training=False)]
    assert steps[: len(small)] == small
    assert [name for name, _ in steps[len(small) :]] == ['torch', 'training']
    assert not any('torch==' in line for _, inputs in small for line in inputs)


def test_vision_msgs_is_built_only_where_ros_has_none(tmp_path: Path) -> None:
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)

    def titles() -> str:
        steps = make_steps(Workspace(ROOT, '3.12', (tmp_path,)), training=True)
        return '\n'.join(step.title for step in steps)

    assert 'vision_msgs and mnssd_msgs' in titles()
    (index / 'vision_msgs').touch()
    assert 'vision_msgs' not in titles()


def test_another_ros_or_folder_repeats_every_step(tmp_path: Path) -> None:
    digests = [
        {digest for _, digest in pending_steps(make_steps(workspace, training=True), tmp_path)}
        for workspace in (Workspace(ROOT, '3.12'), Workspace(ROOT, '3.12', (tmp_path,)))
    ]
    assert not digests[0] & digests[1]
