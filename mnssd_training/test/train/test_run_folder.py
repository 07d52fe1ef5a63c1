"""The run folder: its files, retention of checkpoints, and what is resumed."""

from collections.abc import Callable, Iterator
from datetime import datetime
import errno
import json
import os
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import Experiment, ModelConfig
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.errors import CheckpointError, TrainingError
from mnssd_training.torch_file import dump_torch
from mnssd_training.train.checkpoint import Checkpoint, save_checkpoint
from mnssd_training.train.progress import Progress
from mnssd_training.train.run_folder import default_folder, RunFolder
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


def test_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / 'nowhere')
    assert run.find_checkpoint(False) is None
    assert run.find_checkpoint(True) is None
    assert not run.path.exists()


def test_begin_writes_experiment_and_status(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    assert Experiment.model_validate(read(run, 'config.json')) == tiny()
    written = read(run, 'fingerprint.json')
    assert written['fingerprint'] == fingerprint(tiny())
    assert set(written) == {'fingerprint', 'schema_version', 'created'}
    (start,) = read(run, 'args.json')
    assert start['arguments'] == ['smoke', '--quiet']
    status = read(run, 'status.json')
    assert datetime.fromisoformat(status.pop('updated')).tzinfo
    assert status == {
        'status': 'initialized', 'step': 0, 'epoch': 0, 'reason': '', 'best': None
    }  # fmt: skip
    run.begin(tiny(), ['smoke', '--resume'], Progress(step=3))
    assert [start['from_step'] for start in read(run, 'args.json')] == [0, 3]
    assert read(run, 'fingerprint.json') == written
    assert not list(run.path.glob('*.partial'))


def test_default_folder_names_the_experiment(tiny: Callable[..., Experiment]) -> None:
    wanted = tiny(**{'logging.root': 'here'})
    assert default_folder(wanted) == Path('here') / f'smoke_{fingerprint(wanted)}'


def test_save_keeps_the_newest_checkpoints(run: RunFolder) -> None:
    for step in (2, 4, 6, 100_000_000):
        run.save(at(step), keep=2)
    run.save_best(at(4))
    assert names(run) == ['best.pt', 'step-00000006.pt', 'step-100000000.pt']
    found = run.find_checkpoint(True)
    assert found
    assert found.checkpoint.step == 100_000_000
    with pytest.raises(
        CheckpointError, match='already holds a run; continue it with --resume, or'
    ):
        run.find_checkpoint(False)


def test_damaged_checkpoint_is_skipped_and_renamed(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    for step in (2, 4):
        run.save(at(step), keep=2)
    (run.checkpoints / 'step-00000004.pt').write_bytes(b'half')
    found = run.find_checkpoint(True)
    assert found
    assert found.checkpoint.step == 2
    assert [str(damage.path) for damage in found.damaged] == [
        str(run.checkpoints / 'step-00000004.pt')
    ]
    assert names(run) == ['step-00000002.pt', 'step-00000004.pt']  # nothing is changed by a look
    (warning,) = run.begin(tiny(), [], Progress(step=2), found)
    assert 'step-00000004.pt: damaged: ' in warning
    assert warning.endswith('; renamed to step-00000004.pt.damaged')
    run.save(at(4), keep=2)
    (run.checkpoints / 'step-00000004.pt').write_bytes(b'half again')
    run.begin(tiny(), [], Progress(step=2), run.find_checkpoint(True))
    assert names(run) == [
        'step-00000002.pt', 'step-00000004.pt.damaged', 'step-00000004.pt.damaged-2'
    ]  # fmt: skip
    assert (run.checkpoints / 'step-00000004.pt.damaged').read_bytes() == b'half'


def test_run_with_only_damaged_checkpoints_is_refused_unchanged(
    run: RunFolder,
) -> None:
    for step in (2, 3):
        run.save(at(step), keep=2)
        (run.checkpoints / f'step-{step:08}.pt').write_bytes(b'half')
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r'all checkpoints are damaged: .*3\.pt.*2\.pt'):
            run.find_checkpoint(True)
        assert names(run) == ['step-00000002.pt', 'step-00000003.pt']


@pytest.mark.parametrize('number', [errno.EIO, errno.EACCES, errno.ESTALE])
def test_unreadable_checkpoint_is_an_error_and_changes_nothing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for step in (4, 6, 8):
        run.save(at(step), keep=3)
    read_bytes, before = Path.read_bytes, names(run)

    def fail(path: Path) -> bytes:
        if path.name == 'step-00000004.pt':
            return read_bytes(path)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, 'read_bytes', fail)
    with pytest.raises(CheckpointError, match=r'step-00000008\.pt: cannot be read: ') as caught:
        run.find_checkpoint(True)
    assert os.strerror(number) in str(caught.value)
    assert names(run) == before


def test_unlistable_folder_is_not_an_empty_one(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(at(4), keep=3)

    def fail(path: Path) -> Iterator[Path]:
        raise OSError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'iterdir', fail)
    for resume in (True, False):
        with pytest.raises(CheckpointError, match=r'checkpoints: cannot be read: Permission'):
            run.find_checkpoint(resume)


def test_checkpoint_of_another_version_is_refused_and_kept(run: RunFolder) -> None:
    run.save(at(4), keep=3)
    (run.checkpoints / 'step-00000006.pt').write_bytes(dump_torch({'schema': 99}))
    with pytest.raises(CheckpointError, match=r'6\.pt: .*got 99; use the version of mnssd that'):
        run.find_checkpoint(True)
    assert names(run) == ['step-00000004.pt', 'step-00000006.pt']


def test_retention_removes_only_older_checkpoints(run: RunFolder) -> None:
    for step in (8, 9):  # of somebody else, written while this one runs
        save_checkpoint(run.checkpoints / f'step-{step:08}.pt', at(step))
    for step in (1, 2, 3):
        run.save(at(step), keep=2)
    assert names(run) == [f'step-0000000{step}.pt' for step in (2, 3, 8, 9)]


def test_resuming_an_older_checkpoint_renames_newer_ones(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    for step in (2, 4, 6):
        run.save(at(step), keep=3)
    found = run.find_checkpoint(str(run.checkpoints / 'step-00000002.pt'))
    warnings = run.begin(tiny(), [], Progress(step=2), found)
    assert [warning.rpartition(' ')[2] for warning in warnings] == [
        'step-00000004.pt.superseded', 'step-00000006.pt.superseded'
    ]  # fmt: skip
    newest = run.find_checkpoint(True)
    assert newest
    assert newest.checkpoint.step == 2


def test_resuming_an_older_checkpoint_renames_a_newer_best(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    for step in (2, 4):
        run.save(at(step), keep=2)
    run.save_best(at(4))
    assert run.begin(tiny(), [], Progress(step=4), run.find_checkpoint(True)) == []
    assert 'best.pt' in names(run)  # of the step that the run goes on from
    found = run.find_checkpoint(str(run.checkpoints / 'step-00000002.pt'))
    warnings = run.begin(tiny(), [], Progress(step=2), found)
    assert warnings[-1] == (
        f'{run.checkpoints / "best.pt"}: of step 4, newer than step 2; '
        f'renamed to best.pt.superseded'
    )
    assert names(run) == [
        'best.pt.superseded', 'step-00000002.pt', 'step-00000004.pt.superseded'
    ]  # fmt: skip


def test_damaged_best_checkpoint_is_renamed(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    (run.checkpoints / 'best.pt').write_bytes(b'half')
    (warning,) = run.begin(tiny(), [], Progress(step=2))
    assert 'best.pt: damaged: ' in warning
    assert names(run) == ['best.pt.damaged']


def test_unreadable_best_checkpoint_is_an_error_and_changes_nothing(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    for step in (2, 4):
        run.save(at(step), keep=2)
    (run.checkpoints / 'best.pt').mkdir()
    with pytest.raises(CheckpointError, match=r'best\.pt: cannot be read: Is a directory'):
        run.begin(tiny(), [], Progress(step=2))
    assert names(run) == ['best.pt', 'step-00000002.pt', 'step-00000004.pt']


def test_overlong_path_is_an_error(run: RunFolder) -> None:
    with pytest.raises(CheckpointError, match=os.strerror(errno.ENAMETOOLONG)):
        run.find_checkpoint('x' * 5000)


def test_unreadable_metrics_are_not_an_empty_run(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'read_bytes', fail)
    with pytest.raises(TrainingError, match=r'metrics\.jsonl: cannot be read: Permission'):
        run.find_checkpoint(False)


def test_remains_of_a_run_are_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    run.save_best(at(4))
    hint = rf'initial\.checkpoint={run.checkpoints}/best\.pt starts from its weights'
    with pytest.raises(CheckpointError, match=rf'the remains of a run: best\.pt; .*{hint}'):
        run.find_checkpoint(False)
    with pytest.raises(CheckpointError, match=rf'expected step-\*\.pt .*only best\.pt; .*{hint}'):
        run.find_checkpoint(True)
    (run.checkpoints / 'best.pt').rename(run.checkpoints / 'step-00000004.pt.damaged')
    with pytest.raises(CheckpointError, match=r'remains of a run: step-00000004\.pt\.damaged'):
        run.find_checkpoint(False)
    (run.checkpoints / 'step-00000004.pt.damaged').unlink()
    assert run.find_checkpoint(False) is None  # nothing was trained yet
    run.append_metrics({'kind': 'step', 'step': 1, 'epoch': 0.5})
    with pytest.raises(CheckpointError, match='already holds a run; continue it with --resume'):
        run.find_checkpoint(False)
    assert run.find_checkpoint(True) is None  # killed before the first checkpoint: it begins again


def test_foreign_checkpoint_does_not_resume_in_a_used_folder(
    run: RunFolder, tmp_path: Path
) -> None:
    run.save(at(2), keep=1)
    other = RunFolder(tmp_path / 'other')
    save_checkpoint(tmp_path / 'foreign.pt', at(3))
    assert other.find_checkpoint(str(tmp_path / 'foreign.pt'))
    with pytest.raises(CheckpointError, match='already holds a run'):
        run.find_checkpoint(str(tmp_path / 'foreign.pt'))


def test_partial_checkpoint_of_a_killed_process_is_removed(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    (run.checkpoints / 'step-00000001.pt.partial').write_bytes(b'half')
    assert run.find_checkpoint(True) is None
    run.begin(tiny(), [], Progress())
    assert names(run) == []


def test_checkpoint_is_found_by_path_or_folder(run: RunFolder, tmp_path: Path) -> None:
    run.save(at(2), keep=1)
    other = RunFolder(tmp_path / 'other')
    assert other.find_checkpoint(True) is None
    for place in (run.path, run.checkpoints / 'step-00000002.pt'):
        found = other.find_checkpoint(str(place))
        assert found
        assert found.checkpoint.step == 2
    with pytest.raises(CheckpointError, match='expected a checkpoint in this folder, got none'):
        other.find_checkpoint(str(tmp_path))
    with pytest.raises(CheckpointError, match=r'gone\.pt: no such checkpoint'):
        other.find_checkpoint('gone.pt')


def test_metrics_of_unfinished_steps_are_removed(
    run: RunFolder, tiny: Callable[..., Experiment]
) -> None:
    rows = [
        {'kind': 'step', 'step': 1, 'epoch': 0.5},
        {'kind': 'step', 'step': 2, 'epoch': 1.0},
        {'kind': 'epoch', 'step': 2, 'epoch': 1},
        {'kind': 'step', 'step': 3, 'epoch': 1.5},
    ]
    for row in rows:
        run.append_metrics(row)
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


DAMAGED_LINES = [
    b'{"kind": "step", "st\x00\x00\x00',
    b'\xff\xfe',
    b'[1, 2]',
    b'"step"',
    b'{"kind": "step"}',
    b'{"kind": "step", "step": "one"}',
    b'{"step": 1}',
]


@pytest.mark.parametrize('line', DAMAGED_LINES, ids=range(len(DAMAGED_LINES)))
def test_damaged_metrics_are_renamed_and_the_other_rows_kept(
    run: RunFolder, tiny: Callable[..., Experiment], line: bytes
) -> None:
    row = b'{"kind": "step", "step": 1, "epoch": 0.5}\n'
    rows = run.path / 'metrics.jsonl'
    rows.write_bytes(row + line + b'\n' + row)
    (warning,) = run.begin(tiny(), [], Progress(step=1))
    assert '1 damaged lines, the first is number 2' in warning
    assert rows.read_bytes() == row + row
    assert (run.path / 'metrics.jsonl.damaged').read_bytes() == row + line + b'\n' + row
    assert run.begin(tiny(), [], Progress(step=1)) == []


@pytest.mark.parametrize('content', [b'', b'{', b'{}', b'"x"', b'\xff', b'null'])
def test_damaged_json_is_renamed(
    run: RunFolder, tiny: Callable[..., Experiment], content: bytes
) -> None:
    path = run.path / 'args.json'
    path.write_bytes(content)
    for name in ('config.json', 'status.json'):
        (run.path / name).write_bytes(content)
    (warning,) = run.begin(tiny(), ['again'], Progress(step=3))
    assert warning == f'{path}: damaged; renamed to args.json.damaged'
    assert (run.path / 'args.json.damaged').read_bytes() == content
    assert [start['arguments'] for start in read(run, 'args.json')] == [['again']]
    assert Experiment.model_validate(read(run, 'config.json')) == tiny()
    assert read(run, 'status.json')['step'] == 3


def test_unreadable_json_is_not_overwritten(
    run: RunFolder, tiny: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run.path / 'args.json').read_bytes()

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, 'Input/output error', str(path))

    with (
        monkeypatch.context() as patch,
        pytest.raises(TrainingError, match=r'args\.json: cannot be read: Input/output error'),
    ):
        patch.setattr(Path, 'read_bytes', fail)
        run.begin(tiny(), [], Progress(step=3))
    assert (run.path / 'args.json').read_bytes() == before


def test_folder_that_cannot_be_created_is_an_error(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(TrainingError, match='file.*: cannot be written: Not a directory'):
        RunFolder(tmp_path / 'file' / 'run').begin(tiny(), [], Progress())
