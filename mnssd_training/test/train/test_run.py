"""The run folder: what is in it, what stays, and what is found in it."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import Experiment, ModelConfig
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.errors import CheckpointError, TrainingError
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.progress import Progress
from mnssd_training.train.run import default_folder, RunFolder
import pytest
import torch


def at(step: int) -> Checkpoint:
    size = (32, 32)
    spec = ModelSpec(size, ('a',), (feature_map(size, 8, ((9.0, 9.0),)),))
    weights = {'weight': torch.zeros(1)}
    return Checkpoint(spec, ModelConfig(), {}, weights, {}, step, {})


def read(run: RunFolder, name: str) -> Any:
    return json.loads((run.path / name).read_text())


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


@pytest.fixture
def run(tiny: Callable[..., Experiment], tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / 'deep' / 'run')
    run.begin(tiny(), ['smoke', '--quiet'], Progress())
    return run


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / 'nowhere')
    assert run.find(False) is None
    assert run.find(True) is None
    assert not run.path.exists()


def test_what_is_written_at_the_start(run: RunFolder, tiny: Callable[..., Experiment]) -> None:
    assert Experiment.model_validate(read(run, 'config.json')) == tiny()
    told = read(run, 'fingerprint.json')
    assert told['fingerprint'] == fingerprint(tiny())
    assert set(told) == {'fingerprint', 'schema_version', 'created'}
    (start,) = read(run, 'args.json')
    assert start['arguments'] == ['smoke', '--quiet']
    assert read(run, 'status.json') == {
        'status': 'initialized', 'step': 0, 'epoch': 0, 'reason': '', 'best': None
    }  # fmt: skip
    run.begin(tiny(), ['smoke', '--resume'], Progress(step=3))
    assert [start['from_step'] for start in read(run, 'args.json')] == [0, 3]
    assert read(run, 'fingerprint.json') == told
    assert not list(run.path.glob('*.partial'))


def test_the_place_of_a_run_names_the_experiment(tiny: Callable[..., Experiment]) -> None:
    wanted = tiny(**{'logging.root': 'here'})
    assert default_folder(wanted) == Path('here') / f'smoke_{fingerprint(wanted)}'


def test_the_last_ones_are_kept(run: RunFolder) -> None:
    for step in (2, 4, 6, 100_000_000):
        run.save(at(step), keep=2)
    run.save_best(at(4))
    assert names(run) == ['best.pt', 'step-00000006.pt', 'step-100000000.pt']
    found = run.find(True)
    assert found
    assert found.checkpoint.step == 100_000_000
    with pytest.raises(CheckpointError, match='holds a run already; go on with --resume, or'):
        run.find(False)


def test_a_damaged_one_is_passed_over_and_told(run: RunFolder) -> None:
    for step in (2, 4):
        run.save(at(step), keep=2)
    (run.checkpoints / 'step-00000004.pt').write_bytes(b'half')
    found = run.find(True)
    assert found
    assert found.checkpoint.step == 2
    assert 'step-00000004.pt: not a checkpoint' in found.complaints[0]
    run.save(at(3), keep=2)  # the run went on from 2: the damaged one is in nobody's way
    assert names(run) == ['step-00000002.pt', 'step-00000003.pt']
    for name in names(run):
        (run.checkpoints / name).write_bytes(b'half')
    with pytest.raises(CheckpointError, match=r'no checkpoint can be read: .*3\.pt.*2\.pt'):
        run.find(True)


def test_what_a_killed_process_left_half_written_goes(run: RunFolder) -> None:
    (run.checkpoints / 'step-00000001.pt.partial').write_bytes(b'half')
    assert run.find(True) is None
    run.save(at(2), keep=1)
    assert names(run) == ['step-00000002.pt']


def test_another_checkpoint_is_found_by_path_folder_and_url(
    run: RunFolder, tmp_path: Path
) -> None:
    run.save(at(2), keep=1)
    other = RunFolder(tmp_path / 'other')
    for place in (run.path, run.checkpoints / 'step-00000002.pt'):
        found = other.find(str(place))
        assert found
        assert found.checkpoint.step == 2
    with pytest.raises(CheckpointError, match='there is no checkpoint in this folder'):
        other.find(str(tmp_path))
    with pytest.raises(CheckpointError, match=r'gone\.pt: no such checkpoint'):
        other.find('gone.pt')


def test_rows_that_will_come_again_are_taken_back(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    rows = [
        {'kind': 'step', 'step': 1, 'epoch': 0.5},
        {'kind': 'step', 'step': 2, 'epoch': 1.0},
        {'kind': 'epoch', 'step': 2, 'epoch': 1},
        {'kind': 'step', 'step': 3, 'epoch': 1.5},
    ]
    for row in rows:
        run.add_row(row)
    lines = run.path / 'metrics.jsonl'
    lines.write_text(lines.read_text() + '{"kind": "st')
    for done, left in (
        (Progress(step=3, epoch=1), rows),
        (Progress(step=2, epoch=1), rows[:3]),
        (Progress(step=2, epoch=0), rows[:2]),  # killed while the epoch was scored
        (Progress(), []),
    ):
        run.begin(tiny(), [], done)
        assert [json.loads(line) for line in lines.read_text().splitlines()] == left


def test_a_folder_that_cannot_be_made(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(TrainingError, match='file.*: cannot be written: Not a directory'):
        RunFolder(tmp_path / 'file' / 'run').begin(tiny(), [], Progress())
