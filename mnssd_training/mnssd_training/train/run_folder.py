"""Manage a run folder: experiment, status, metrics and checkpoints of a run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import re
from typing import Any, Literal

from mnssd_perception.files import explain_write_error, sync_folder, write_atomically
from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, to_stored
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.errors import CheckpointError, DamagedCheckpointError, TrainingError
from mnssd_training.metrics_file import METRICS_FILE, parse_row
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnssd_training.train.progress import Progress

SCHEMA = 1
BEST = 'best.pt'
STEP_NAME = re.compile(r'step-(\d{8,})\.pt')

Status = Literal['initialized', 'running', 'success', 'failed', 'preempted']


def default_folder(experiment: Experiment) -> Path:
    """Name the default run folder: ``<logging.root>/<id>_<fingerprint>``."""
    return Path(experiment.logging.root) / f'{experiment.experiment.id}_{fingerprint(experiment)}'


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint to resume from, and the newer ones, which are damaged."""

    checkpoint: Checkpoint
    name: str  # path or URL
    damaged: tuple[DamagedCheckpointError, ...] = ()


class RunFolder:
    """
    The folder of one run; ``checkpoints/`` holds ``step-<step>.pt`` and ``best.pt``.

    Only :meth:`save` deletes checkpoints, those beyond ``keep``. Files that are damaged, or newer
    than the checkpoint that the run resumes from, are renamed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / 'checkpoints'

    # --- start -------------------------------------------------------------------------------

    def find_checkpoint(self, resume: bool | str) -> ResumePoint | None:
        """
        Find the checkpoint to resume from, None to start from scratch; change nothing.

        :param resume: True for the newest one, if any; or the path or URL of a checkpoint, or
            another run folder.
        """
        if resume is True:
            return self.newest()
        if resume is False:
            self._refuse_used_folder()
            return None
        other = RunFolder(Path(resume))
        # pathlib raises for a path that may not be looked at
        if os.path.isdir(resume):  # noqa: PTH112
            resume_point = other.newest()
            if not resume_point:
                raise CheckpointError(f'{resume}: expected a checkpoint in this folder, got none')
        else:
            resume_point = ResumePoint(load_checkpoint(resume), resume)
        if self.path.resolve() not in Path(resume_point.name).resolve().parents:
            self._refuse_used_folder()
        return resume_point

    def begin(
        self,
        experiment: Experiment,
        arguments: Sequence[str],
        progress: Progress,
        resume_point: ResumePoint | None = None,
    ) -> list[str]:
        """
        Write the experiment, and remove the metrics of steps that will run again.

        :return: warnings: each file that was renamed, and why.
        """
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        warnings: list[str] = []
        with _writing(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            best_problem = self._check_best(progress.step)  # before anything is renamed
            for partial in self.checkpoints.glob('*.partial'):  # of a process that was killed
                partial.unlink(missing_ok=True)
            for damage in resume_point.damaged if resume_point else ():
                path = Path(str(damage.path))
                if path.parent == self.checkpoints:
                    warnings.append(_rename(path, 'damaged', str(damage)))
            for step, path in self._steps().items():
                if step > progress.step:
                    reason = f'{path}: newer than step {progress.step}'
                    warnings.append(_rename(path, 'superseded', reason))
            if best_problem:
                warnings.append(_rename(self.checkpoints / BEST, *best_problem))
            starts = self._read_json('args.json', list, warnings) if progress.step else None
            shown = [mask_secrets(text) for text in arguments]
            start = {'started': now, 'from_step': progress.step, 'arguments': shown}
            self._write_json('args.json', [*(starts or []), start])
            self._write_json('config.json', to_stored(experiment))
            if not (progress.step and self._read_json('fingerprint.json', dict, warnings)):
                content = {
                    'fingerprint': fingerprint(experiment),
                    'schema_version': SCHEMA,
                    'created': now,
                }
                self._write_json('fingerprint.json', content)
            self._trim_metrics(progress, warnings)
        self.write_status('initialized', progress)
        return warnings

    # --- progress ----------------------------------------------------------------------------

    def write_status(self, status: Status, progress: Progress, reason: str = '') -> None:
        """Write ``status.json``; the reason says why the run ended early."""
        content = {
            'status': status,
            'step': progress.step,
            'epoch': progress.epoch,
            'reason': reason,
            'best': progress.best_score if progress.best_score >= 0 else None,
            'updated': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }
        with _writing(self.path):
            self._write_json('status.json', content)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append a row to ``metrics.jsonl``."""
        path = self.path / METRICS_FILE
        with _writing(self.path), path.open('a', encoding='utf-8') as file:
            file.write(f'{json.dumps(row)}\n')

    # --- checkpoints -------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint, keep: int) -> Path:
        """Write a checkpoint, then delete all but the newest ``keep`` up to its step."""
        path = self.checkpoints / f'step-{checkpoint.step:08}.pt'
        save_checkpoint(path, checkpoint)
        with _writing(self.path):
            older = [path for step, path in self._steps().items() if step <= checkpoint.step]
            for old_path in older[:-keep]:
                old_path.unlink(missing_ok=True)
        return path

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of the best score; if that fails, the previous one remains."""
        save_checkpoint(self.checkpoints / BEST, checkpoint)

    def newest(self) -> ResumePoint | None:
        """
        Load the newest checkpoint that is not damaged, None if there is none; change nothing.

        :raises CheckpointError: if all are damaged, one cannot be read now or is of another
            version, or there are only files that cannot be resumed from.
        """
        damaged: list[DamagedCheckpointError] = []
        for path in reversed(self._steps().values()):
            try:
                return ResumePoint(load_checkpoint(path), str(path), tuple(damaged))
            except DamagedCheckpointError as error:
                damaged.append(error)
        if damaged:
            raise CheckpointError(
                f'{self.checkpoints}: all checkpoints are damaged: '
                f'{"; ".join(map(str, damaged))}; choose another folder with --run'
            )
        if names := self._names():
            raise CheckpointError(
                f'{self.checkpoints}: expected step-*.pt to resume from, found only '
                f'{", ".join(names)}; choose another folder with --run{self._best_hint(names)}'
            )
        return None

    def _refuse_used_folder(self) -> None:
        """Refuse to start from scratch in a folder that holds the results of a run."""
        names = self._names()
        if self._steps() or (not names and _read(self.path / METRICS_FILE)):
            raise CheckpointError(
                f'{self.path}: already holds a run; continue it with --resume, or choose another '
                f'folder with --run'
            )
        if names:
            raise CheckpointError(
                f'{self.path}: holds the remains of a run: {", ".join(names)}; choose another '
                f'folder with --run{self._best_hint(names)}'
            )

    def _check_best(self, step: int) -> tuple[str, str] | None:
        """Check that the best checkpoint is usable at a step; else suffix and reason to rename."""
        if BEST not in self._names():
            return None
        path = self.checkpoints / BEST
        try:
            best_step = load_checkpoint(path).step
        except DamagedCheckpointError as error:
            return 'damaged', str(error)
        if best_step <= step:
            return None
        return 'superseded', f'{path}: of step {best_step}, newer than step {step}'

    def _best_hint(self, names: Sequence[str]) -> str:
        if BEST not in names:
            return ''
        return f'; initial.checkpoint={self.checkpoints / BEST} starts from its weights'

    def _trim_metrics(self, progress: Progress, warnings: list[str]) -> None:
        """Remove the rows of unfinished steps and epochs, and the damaged lines."""
        path, kept, damaged = self.path / METRICS_FILE, [], []
        lines = _read(path).split(b'\n')
        finished = {'step': progress.step, 'epoch': progress.epoch}
        for number, line in enumerate(lines, 1):
            row = parse_row(line)
            if row:
                unit = 'epoch' if row['kind'] == 'epoch' else 'step'
                if row[unit] <= finished[unit]:
                    kept.append(line + b'\n')
            elif number < len(lines):  # a process that is killed leaves half a line at the end
                damaged.append(number)
        if damaged:
            reason = (
                f'{path}: {len(damaged)} damaged lines, the first is number {damaged[0]}; the '
                f'other lines are kept'
            )
            warnings.append(_rename(path, 'damaged', reason))
        write_atomically(path, b''.join(kept))

    def _names(self) -> list[str]:
        """List the files among the checkpoints, except incomplete ones."""
        try:
            names = sorted(path.name for path in self.checkpoints.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:  # a folder that cannot be read is not an empty one
            raise CheckpointError(_cannot_be_read(self.checkpoints, error)) from error
        return [name for name in names if not name.endswith('.partial')]

    def _steps(self) -> dict[int, Path]:
        """List the checkpoints by their step, oldest first."""
        matches = filter(None, map(STEP_NAME.fullmatch, self._names()))
        return dict(sorted((int(match[1]), self.checkpoints / match[0]) for match in matches))

    def _read_json(self, name: str, expected: type, warnings: list[str]) -> Any:
        """Read a file of the folder; None if it is missing or damaged."""
        path = self.path / name
        if not path.exists():
            return None
        with suppress(ValueError):
            if isinstance(value := json.loads(_read(path)), expected):
                return value
        warnings.append(_rename(path, 'damaged', f'{path}: damaged'))
        return None

    def _write_json(self, name: str, content: Any) -> None:
        write_atomically(self.path / name, (json.dumps(content, indent=2) + '\n').encode())


def _read(path: Path) -> bytes:
    """Read a file; nothing if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b''
    except OSError as error:
        raise TrainingError(_cannot_be_read(path, error)) from error


def _cannot_be_read(path: Path, error: OSError) -> str:
    return f'{path}: cannot be read: {error.strerror}; nothing was changed'


def _rename(path: Path, suffix: str, reason: str) -> str:
    """Rename a file without overwriting an earlier one; return the reason and the new name."""
    renamed, number = path.with_name(f'{path.name}.{suffix}'), 1
    while renamed.exists():
        number += 1
        renamed = path.with_name(f'{path.name}.{suffix}-{number}')
    path.rename(renamed)
    sync_folder(path.parent)
    return f'{reason}; renamed to {renamed.name}'


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raise a TrainingError where the folder cannot be written."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename or folder)
        raise TrainingError(
            f'{path}: cannot be written: {explain_write_error(error, path)}'
        ) from error
