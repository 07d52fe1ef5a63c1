"""Steps that are killed anywhere, and whether the next run makes it good."""

from dataclasses import dataclass, field
from pathlib import Path
import tempfile

from hypothesis import given, strategies
from mnssd_workspace.errors import WorkspaceError
from mnssd_workspace.steps import pending_steps, run_steps, Step
import pytest

NAMES = ('venv', 'base', 'messages', 'tools', 'perception')
NEEDS = {'base': ('venv',), 'messages': ('base',), 'tools': ('venv',), 'perception': ('messages',)}


class Killed(BaseException):
    """A SIGKILL, as far as it can be had inside one process: nothing of ours handles it."""


@dataclass
class Machine:
    """A folder in which each step writes a file from its input and those of its needs."""

    folder: Path
    inputs: dict[str, str]
    log: list[str] = field(default_factory=list)
    kill_at: int = -1
    ticks: int = 0

    @property
    def state(self) -> Path:
        return self.folder / 'state'

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks - 1 == self.kill_at:
            raise Killed

    def content(self, name: str) -> str:
        before = [self.content(need) for need in NEEDS.get(name, ())]
        return f'{name}={self.inputs[name]}({",".join(before)})'

    def do(self, name: str) -> None:
        self.log.append(name)
        path = self.folder / name
        for need in NEEDS.get(name, ()):
            assert (self.folder / need).read_text() == self.content(need)
        path.write_text('')
        for letter in self.content(name):
            self.tick()
            with path.open('a') as file:
                file.write(letter)
        self.tick()

    def steps(self) -> list[Step]:
        return [
            Step(
                name=name,
                title=name,
                inputs=self.inputs[name],
                action=lambda name=name: self.do(name),  # type: ignore[misc]
                outputs=(self.folder / name,),
                needs=NEEDS.get(name, ()),
                after=('messages',) if name == 'tools' else (),
            )
            for name in NAMES
        ]

    def run(self, num_workers: int = 1) -> None:
        run_steps(
            self.steps(), self.state, lambda _: lambda _: self.tick(), num_workers=num_workers
        )

    def is_right(self) -> bool:
        return all((self.folder / name).read_text() == self.content(name) for name in NAMES)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, dict.fromkeys(NAMES, '1'))


def test_everything_is_done_once(machine: Machine) -> None:
    machine.run()
    assert machine.is_right()
    assert sorted(machine.log) == sorted(NAMES)
    machine.run()
    assert len(machine.log) == len(NAMES)
    assert pending_steps(machine.steps(), machine.state) == []


def test_side_by_side_gives_the_same(machine: Machine) -> None:
    machine.run(num_workers=3)
    assert machine.is_right()


def test_a_change_is_carried_to_what_needs_it_and_no_further(machine: Machine) -> None:
    machine.run()
    machine.log.clear()
    machine.inputs['messages'] = '2'
    machine.run()
    assert machine.log == ['messages', 'perception']
    assert machine.is_right()


def test_a_lost_output_is_made_again(machine: Machine) -> None:
    machine.run()
    machine.log.clear()
    (machine.folder / 'tools').unlink()
    machine.run()
    assert machine.log == ['tools']


def test_after_a_failure_nothing_else_begins(machine: Machine) -> None:
    def fail() -> None:
        raise WorkspaceError('no')

    steps = machine.steps()
    steps[1] = Step(name='base', title='base', inputs='', action=fail, needs=('venv',))
    with pytest.raises(WorkspaceError, match='no'):
        run_steps(steps, machine.state, lambda _: lambda _: None)
    assert machine.log == ['venv']


@given(
    kills=strategies.lists(strategies.integers(0, 150), max_size=4),
    change=strategies.sampled_from((None, *NAMES)),
)
def test_killed_anywhere_it_is_made_good(kills: list[int], change: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder), dict.fromkeys(NAMES, '1'))
        for number, kill in enumerate([*kills, -1]):
            if change and number == 1:
                machine.inputs[change] = '2'
            machine.kill_at, machine.ticks = kill, 0
            try:
                machine.run()
            except Killed:
                continue
        machine.kill_at = -1
        machine.run()
        assert machine.is_right()
        machine.log.clear()
        machine.run()
        assert machine.log == []
