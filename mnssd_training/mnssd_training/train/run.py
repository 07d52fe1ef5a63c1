"""A run folder: what was asked for, how it goes, and the checkpoints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    """Tell where a run goes when nobody says where: ``<root>/<id>_<fingerprint>``."""
    return Path(experiment.logging.root) / f'{experiment.experiment.id}_{fingerprint(experiment)}'


@dataclass(frozen=True)
class Found:
    """
    A checkpoint to go on from.

    :ivar checkpoint: what it holds.
    :ivar name: its path or URL.
    :ivar damaged: newer ones that are damaged, with what is wrong.
    """

    checkpoint: Checkpoint
    name: str
    damaged: tuple[DamagedCheckpointError, ...] = ()


class RunFolder:
    """
    The folder of one run.

    Nothing in it is deleted but the checkpoints that ``keep`` of :meth:`save` lets go. Files that
    are damaged or of a branch that the run has gone back from are renamed.

    :ivar path: the folder.
    :ivar checkpoints: its folder of checkpoints: ``step-<step>.pt`` and ``best.pt``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / 'checkpoints'

    # --- what was asked for ------------------------------------------------------------------

    def find(self, resume: bool | str) -> Found | None:
        """
        Find what to go on from.

        :param resume: the newest checkpoint, if there is one; or that at a path or URL, or the
            newest of the run in another folder.
        :return: None to start.
        :raises CheckpointError: if there is a run here already and nobody wants to resume it,
            nothing of it can be read, or its newest checkpoint cannot be read now.
        """
        if isinstance(resume, str):
            return self._find_at(resume)
        if resume:
            return self.newest()
        self._refuse_another()
        return None

    def begin(
        self,
        experiment: Experiment,
        arguments: Sequence[str],
        done: Progress,
        found: Found | None = None,
    ) -> list[str]:
        """
        Write down what is asked for, and take back the rows that will be written again.

        :param experiment: what is trained.
        :param arguments: of the command line.
        :param done: how far the run is.
        :param found: what it goes on from; None for a fresh start.
        :return: what was damaged or is no longer part of the run, and the new names; a line each.
        :raises CheckpointError: if the best checkpoint cannot be read now.
        :raises TrainingError: if the folder cannot be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        warnings: list[str] = []
        with _written(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            why_not_best = self._why_not_best(done)  # before anything is renamed
            for partial in self.checkpoints.glob('*.partial'):  # of a process that was killed
                partial.unlink(missing_ok=True)
            for damage in found.damaged if found else ():
                path = Path(str(damage.path))
                if path.parent == self.checkpoints:
                    warnings.append(f'{damage}; renamed to {_set_aside(path, "damaged").name}')
            for step, path in self._steps().items():
                if step > done.step:
                    renamed = _set_aside(path, 'superseded')
                    warnings.append(
                        f'{path}: newer than step {done.step}; renamed to {renamed.name}'
                    )
            if why_not_best:
                reason, why = why_not_best
                renamed = _set_aside(self.checkpoints / BEST, why)
                warnings.append(f'{reason}; renamed to {renamed.name}')
            starts = self._read_json('args.json', list, warnings) or [] if done.step else []
            shown = [mask_secrets(text) for text in arguments]
            starts.append({'started': now, 'from_step': done.step, 'arguments': shown})
            self._write_json('args.json', starts)
            self._write_json('config.json', to_stored(experiment))
            if not (done.step and self._read_json('fingerprint.json', dict, warnings)):
                content = {
                    'fingerprint': fingerprint(experiment),
                    'schema_version': SCHEMA,
                    'created': now,
                }
                self._write_json('fingerprint.json', content)
            self._cut_rows(done, warnings)
        self.tell('initialized', done)
        return warnings

    # --- how it goes -------------------------------------------------------------------------

    def tell(self, status: Status, done: Progress, reason: str = '') -> None:
        """
        Write the status.

        :param status: how the run goes.
        :param done: how far it is.
        :param reason: why it ended before its end.
        :raises TrainingError: if the folder cannot be written.
        """
        content = {
            'status': status,
            'step': done.step,
            'epoch': done.epoch,
            'reason': reason,
            'best': done.best if done.best >= 0 else None,
            'updated': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }
        with _written(self.path):
            self._write_json('status.json', content)

    def add_row(self, row: dict[str, Any]) -> None:
        """
        Add a line to ``metrics.jsonl``.

        :param row: plain numbers and words.
        :raises TrainingError: if the folder cannot be written.
        """
        with (
            _written(self.path),
            (self.path / METRICS_FILE).open('a', encoding='utf-8') as file,
        ):
            file.write(f'{json.dumps(row)}\n')

    # --- checkpoints -------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint, keep: int) -> Path:
        """
        Write a checkpoint, then let go of old ones.

        :param checkpoint: what to write.
        :param keep: newest ones that stay, of those up to this step.
        :return: the file.
        :raises CheckpointError: if it cannot be written; all others are still there.
        :raises TrainingError: if an old one cannot be removed.
        """
        path = self.checkpoints / f'step-{checkpoint.step:08}.pt'
        save_checkpoint(path, checkpoint)
        with _written(self.path):
            older = [path for step, path in self._steps().items() if step <= checkpoint.step]
            for path_of_older in older[:-keep]:
                path_of_older.unlink(missing_ok=True)
        return path

    def save_best(self, checkpoint: Checkpoint) -> None:
        """
        Write the checkpoint of the best score.

        :param checkpoint: what to write.
        :raises CheckpointError: if it cannot be written; the one before is still there.
        """
        save_checkpoint(self.checkpoints / BEST, checkpoint)

    def newest(self) -> Found | None:
        """
        Read the newest checkpoint that is not damaged; change nothing.

        :return: it; None if there is none at all.
        :raises CheckpointError: if there are some and all are damaged, if one cannot be read now,
            or if one is not of this version; or if there is only what cannot be resumed from.
        """
        damaged: list[DamagedCheckpointError] = []
        for path in reversed(self._steps().values()):
            try:
                return Found(load_checkpoint(path), str(path), tuple(damaged))
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
                f'{", ".join(names)}; choose another folder with --run{self._hint_for_best(names)}'
            )
        return None

    def _find_at(self, place: str) -> Found:
        """Read a checkpoint at a path, in a folder or at a URL."""
        folder = RunFolder(Path(place))
        # pathlib raises for a path that may not be looked at
        if os.path.isdir(folder.path):  # noqa: PTH112
            found = folder.newest()
            if not found:
                raise CheckpointError(f'{place}: there is no checkpoint in this folder')
        else:
            found = Found(load_checkpoint(place), place)
        if self.path.resolve() not in Path(found.name).resolve().parents:
            self._refuse_another()
        return found

    def _refuse_another(self) -> None:
        """Refuse to train from the beginning in a folder that holds the results of a run."""
        names = self._names()
        if any(STEP_NAME.fullmatch(name) for name in names) or (not names and self._has_rows()):
            raise CheckpointError(
                f'{self.path}: holds a run already; go on with --resume, or choose another folder '
                f'with --run'
            )
        if names:
            raise CheckpointError(
                f'{self.path}: holds what is left of a run: {", ".join(names)}; choose another '
                f'folder with --run{self._hint_for_best(names)}'
            )

    def _has_rows(self) -> bool:
        """Tell whether anything was written to ``metrics.jsonl``."""
        path = self.path / METRICS_FILE
        try:
            return path.stat().st_size > 0
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CheckpointError(_unreadable(path, error)) from error

    def _why_not_best(self, done: Progress) -> tuple[str, str] | None:
        """Say what is wrong with the best checkpoint, and in a word; None if nothing is."""
        if BEST not in self._names():
            return None
        path = self.checkpoints / BEST
        try:
            step = load_checkpoint(path).step
        except DamagedCheckpointError as error:
            return str(error), 'damaged'
        if step <= done.step:
            return None
        return f'{path}: of step {step}, newer than step {done.step}', 'superseded'

    def _hint_for_best(self, names: Sequence[str]) -> str:
        """Say how to keep the weights of the best checkpoint, if there is one."""
        if BEST not in names:
            return ''
        return f'; initial.checkpoint={self.checkpoints / BEST} begins with its weights'

    def _cut_rows(self, done: Progress, warnings: list[str]) -> None:
        """Take back the rows of steps and epochs that are not done."""
        path, kept, damaged = self.path / METRICS_FILE, [], []
        lines = (_read(path) or b'').split(b'\n')
        for number, line in enumerate(lines, 1):
            row = parse_row(line)
            if row is None:
                if number < len(lines):  # a process that is killed leaves half a line at the end
                    damaged.append(number)
                continue
            name = 'epoch' if row['kind'] == 'epoch' else 'step'
            if row[name] <= getattr(done, name):
                kept.append(line + b'\n')
        if damaged:
            renamed = _set_aside(path, 'damaged')
            warnings.append(
                f'{path}: {len(damaged)} damaged lines, the first is number {damaged[0]}; the '
                f'others are kept, the file as it was is {renamed.name}'
            )
        write_atomically(path, b''.join(kept))

    def _names(self) -> list[str]:
        """List the files of the folder of checkpoints, without what was never complete."""
        try:
            names = sorted(path.name for path in self.checkpoints.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:  # a folder that cannot be read is not an empty one
            raise CheckpointError(_unreadable(self.checkpoints, error)) from error
        return [name for name in names if not name.endswith('.partial')]

    def _steps(self) -> dict[int, Path]:
        """List the checkpoints by their step, oldest first."""
        matches = filter(None, map(STEP_NAME.fullmatch, self._names()))
        return dict(sorted((int(match[1]), self.checkpoints / match[0]) for match in matches))

    def _read_json(self, name: str, kind: type, warnings: list[str]) -> Any:
        """Read a file of the folder; None if there is none or it is damaged."""
        path = self.path / name
        content = _read(path)
        if content is None:
            return None
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if isinstance(value, kind):
            return value
        warnings.append(f'{path}: damaged; renamed to {_set_aside(path, "damaged").name}')
        return None

    def _write_json(self, name: str, content: Any) -> None:
        """Write a file of the folder, whole or not at all."""
        write_atomically(self.path / name, (json.dumps(content, indent=2) + '\n').encode())


def _read(path: Path) -> bytes | None:
    """Read a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainingError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: OSError) -> str:
    """Say that what is there cannot be read now."""
    return f'{path}: cannot be read: {error.strerror}; nothing was changed'


def _set_aside(path: Path, why: str) -> Path:
    """Rename a file; one that was set aside before stays as it is."""
    renamed, number = path.with_name(f'{path.name}.{why}'), 1
    while renamed.exists():
        number += 1
        renamed = path.with_name(f'{path.name}.{why}-{number}')
    path.rename(renamed)
    sync_folder(path.parent)
    return renamed


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Tell in words when a folder cannot be written."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename or folder)
        raise TrainingError(
            f'{path}: cannot be written: {explain_write_error(error, path)}'
        ) from error
