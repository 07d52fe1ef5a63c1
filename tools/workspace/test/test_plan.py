"""The list of steps for a machine and a choice."""

from dataclasses import replace
from pathlib import Path

from mnssd_workspace.errors import ForeignEnvironmentError
from mnssd_workspace.host import Host, Ros
from mnssd_workspace.layout import Layout
from mnssd_workspace.plan import environment_paths, has_vision_msgs, Job, make_plan
from mnssd_workspace.steps import Step, step_digests
from mnssd_workspace.venv import make_venv
import pytest

ROOT = Path(__file__).resolve().parents[3]
HOST = Host(
    python=Path('/usr/bin/python3'),
    version=(3, 12),
    full_version='3.12.3',
    system='Linux',
    machine='x86_64',
    include=Path('/usr/include/python3.12'),
    ros=None,
)


@pytest.fixture
def job() -> Job:
    return Job(Layout(ROOT), HOST, {'PATH': '/usr/bin'})


@pytest.fixture
def ros(tmp_path: Path) -> Ros:
    index = tmp_path / 'ros/share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'vision_msgs').touch()
    return Ros('jazzy', (tmp_path / 'ros',))


def titles(steps: tuple[Step, ...]) -> str:
    return '\n'.join(step.title for step in steps)


def test_each_step_comes_after_what_it_waits_for(job: Job) -> None:
    done: set[str] = set()
    for step in make_plan(job):
        assert done.issuperset((*step.needs, *step.after))
        done.add(step.name)


def test_without_training_there_is_no_torch(job: Job) -> None:
    small = make_plan(replace(job, training=False))
    assert 'torch' in {step.name for step in make_plan(job)}
    assert not {'torch', 'training'} & {step.name for step in small}
    assert sum(step.space for step in small) < 1_000_000_000


def test_leaving_training_out_changes_nothing_else(job: Job) -> None:
    whole = step_digests(make_plan(job))
    small = step_digests(make_plan(replace(job, training=False)))
    shared = set(whole) & set(small)
    assert {'venv', 'base', 'messages', 'tools', 'perception'} == shared
    assert all(whole[name] == small[name] for name in shared)


def test_the_real_vision_msgs_is_used_where_it_is(job: Job, ros: Ros) -> None:
    assert 'vision_msgs and mnssd_msgs' in titles(make_plan(job))
    on_ros = replace(job, host=replace(HOST, ros=ros))
    assert has_vision_msgs(on_ros.host)
    assert 'vision_msgs' not in titles(make_plan(on_ros))
    other = replace(job, host=replace(HOST, ros=Ros('jazzy', (Path('/nowhere'),))))
    assert 'vision_msgs and mnssd_msgs' in titles(make_plan(other))


def test_a_built_vision_msgs_does_not_hide_the_real_one(tmp_path: Path, ros: Ros) -> None:
    layout = Layout(tmp_path)
    (layout.install / 'vision_msgs').mkdir(parents=True)
    host = replace(HOST, ros=ros)
    assert layout.install / 'vision_msgs' in environment_paths(layout, HOST)['AMENT_PREFIX_PATH']
    assert environment_paths(layout, host)['AMENT_PREFIX_PATH'] == ()


def test_another_python_or_place_makes_everything_anew(job: Job, tmp_path: Path) -> None:
    before = step_digests(make_plan(job))
    after = step_digests(make_plan(replace(job, host=replace(HOST, full_version='3.12.4'))))
    assert all(before[name] != after[name] for name in before)


def test_an_environment_of_others_is_left_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    kept = layout.venv / 'pyvenv.cfg'
    layout.venv.mkdir()
    kept.touch()
    with pytest.raises(ForeignEnvironmentError, match='move it away'):
        make_venv(layout, HOST, {}, verbose=False)
    assert kept.exists()
