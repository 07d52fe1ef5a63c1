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

from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, to_stored
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.errors import CheckpointError, TrainingError
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnssd_training.train.progress import Progress

__all__ = ['default_folder', 'Found', 'RunFolder', 'Status']

SCHEMA = 1
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
    :ivar complaints: what is wrong with newer ones.
    """

    checkpoint: Checkpoint
    name: str
    complaints: tuple[str, ...] = ()


class RunFolder:
    """
    The folder of one run.

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
        :raises CheckpointError: if there is a run here already and nobody wants to resume it, or
            nothing of it can be read.
        """
        if isinstance(resume, str):
            if Path(resume).is_dir():
                found = RunFolder(Path(resume)).newest()
                if not found:
                    raise CheckpointError(f'{resume}: there is no checkpoint in this folder')
                return found
            return Found(load_checkpoint(resume), resume)
        if resume:
            return self.newest()
        if self._steps():
            raise CheckpointError(
                f'{self.path}: holds a run already; go on with --resume, or choose another folder '
                f'with --run'
            )
        return None

    def begin(self, experiment: Experiment, arguments: Sequence[str], done: Progress) -> None:
        """
        Write down what is asked for, and take back the rows that will be written again.

        :param experiment: what is trained.
        :param arguments: of the command line.
        :param done: how far the run is.
        :raises TrainingError: if the folder cannot be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        print_of_it = fingerprint(experiment)
        with _written(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            starts = (self._read_json('args.json') or []) if done.step else []
            shown = [mask_secrets(text) for text in arguments]
            starts.append({'started': now, 'from_step': done.step, 'arguments': shown})
            self._write_json('args.json', starts)
            self._write_json('config.json', to_stored(experiment))
            if not (done.step and self._read_json('fingerprint.json')):
                content = {'fingerprint': print_of_it, 'schema_version': SCHEMA, 'created': now}
                self._write_json('fingerprint.json', content)
            self._cut_rows(done)
        self.tell('initialized', done)

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
            (self.path / 'metrics.jsonl').open('a', encoding='utf-8') as file,
        ):
            file.write(f'{json.dumps(row)}\n')

    # --- checkpoints -------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint, keep: int) -> Path:
        """
        Write a checkpoint, then let go of old ones.

        :param checkpoint: what to write.
        :param keep: newest ones that stay.
        :return: the file.
        :raises CheckpointError: if it cannot be written; all others are still there.
        """
        for partial in self.checkpoints.glob('*.partial'):  # of a process that was killed
            partial.unlink(missing_ok=True)
        path = self.checkpoints / f'step-{checkpoint.step:08}.pt'
        save_checkpoint(path, checkpoint)
        steps = self._steps()
        ahead = [step for step in steps if step > checkpoint.step]  # unreadable, or gone back from
        behind = [step for step in steps if step <= checkpoint.step]
        for step in (*ahead, *behind[:-keep]):
            steps[step].unlink(missing_ok=True)
        return path

    def save_best(self, checkpoint: Checkpoint) -> None:
        """
        Write the checkpoint of the best score.

        :param checkpoint: what to write.
        :raises CheckpointError: if it cannot be written; the one before is still there.
        """
        save_checkpoint(self.checkpoints / 'best.pt', checkpoint)

    def newest(self) -> Found | None:
        """
        Read the newest checkpoint that can be read.

        :return: it; None if there is none at all.
        :raises CheckpointError: if there are some and none can be read.
        """
        complaints: list[str] = []
        for path in reversed(self._steps().values()):
            try:
                return Found(load_checkpoint(path), str(path), tuple(complaints))
            except CheckpointError as error:
                complaints.append(str(error))
        if complaints:
            raise CheckpointError(
                f'{self.checkpoints}: no checkpoint can be read: {"; ".join(complaints)}; '
                f'choose another folder with --run'
            )
        return None

    def _cut_rows(self, done: Progress) -> None:
        """Take back the rows of steps and epochs that are not done."""
        path, kept = self.path / 'metrics.jsonl', []
        lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # half a line of a process that was killed
            if row['kind'] == 'epoch':
                is_done = row['epoch'] <= done.epoch
            else:
                is_done = row['step'] <= done.step
            if is_done:
                kept.append(f'{line}\n')
        _replace(path, ''.join(kept))

    def _steps(self) -> dict[int, Path]:
        """List the checkpoints by their step, oldest first."""
        found = {}
        for path in self.checkpoints.glob('step-*.pt'):
            if match := STEP_NAME.fullmatch(path.name):
                found[int(match[1])] = path
        return dict(sorted(found.items()))

    def _read_json(self, name: str) -> Any:
        """Read a file of the folder; None if there is none or it is damaged."""
        try:
            return json.loads((self.path / name).read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None

    def _write_json(self, name: str, content: Any) -> None:
        """Write a file of the folder, whole or not at all."""
        _replace(self.path / name, json.dumps(content, indent=2) + '\n')


def _replace(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    temporary = path.with_name(f'{path.name}.partial')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Tell in words when a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f'{error.filename or folder}: cannot be written: {error.strerror}'
        ) from error
