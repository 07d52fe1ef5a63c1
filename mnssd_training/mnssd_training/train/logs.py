"""Rows of numbers to TensorBoard, MLflow and Weights & Biases."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import logging
from pathlib import Path
import sys
from typing import Any, Protocol

from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, to_stored
from mnssd_training.errors import TrainingError
import numpy as np
from numpy.typing import NDArray


class RunLogger(Protocol):
    """Where numbers go, beside ``metrics.jsonl``."""

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Write an ``(H, W, 3)`` RGB image of a step."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoardLogger:
    """Events in ``tensorboard/`` of the run."""

    def __init__(self, experiment: Experiment, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1)

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Write an ``(H, W, 3)`` RGB image of a step."""
        self._writer.add_image(name, image, step, dataformats='HWC')

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()


class MlflowLogger:
    """A run of an MLflow server or folder; a resumed run goes on in the same one."""

    def __init__(self, experiment: Experiment, folder: Path, step: int) -> None:
        import mlflow

        mlflow.set_tracking_uri(experiment.logging.mlflow)
        mlflow.set_experiment(experiment.experiment.id)
        kept = folder / 'mlflow_run.txt'
        known = kept.read_text().strip() if step and kept.exists() else None
        run = mlflow.start_run(run_id=known, run_name=folder.name)
        kept.write_text(run.info.run_id)
        if not known:
            params = flat(to_stored(experiment), words=True)
            mlflow.log_params({key: str(value)[:500] for key, value in params.items()})
        self._mlflow = mlflow

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""
        # MLflow's names are letters, digits and _-./ and spaces
        named = {name.replace('@', '_at_'): value for name, value in numbers.items()}
        self._mlflow.log_metrics(named, step=step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Write an ``(H, W, 3)`` RGB image of a step."""
        self._mlflow.log_image(image, f'{name}/{step}.png')

    def close(self) -> None:
        """Write what is still in memory."""
        self._mlflow.end_run()


class WandbLogger:
    """A run of Weights & Biases; a resumed run goes on in the same one."""

    def __init__(self, experiment: Experiment, folder: Path, step: int) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=experiment.logging.wandb,
            id=folder.name,
            name=folder.name,
            dir=str(folder),
            config=to_stored(experiment),
            resume='allow',
        )

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Write an ``(H, W, 3)`` RGB image of a step."""
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Write what is still in memory."""
        self._run.finish()


def open_loggers(experiment: Experiment, folder: Path, step: int) -> list[RunLogger]:
    """
    Open what an experiment writes to.

    :param experiment: with ``logging``.
    :param folder: of the run.
    :param step: steps done; what was written beyond them is taken back where that is possible.
    :return: the loggers.
    :raises TrainingError: if a package is missing, or a server cannot be reached.
    """
    config = experiment.logging
    wanted: dict[str, tuple[object, Any]] = {
        'tensorboard': (config.tensorboard, TensorBoardLogger),
        'mlflow': (config.mlflow, MlflowLogger),
        'wandb': (config.wandb, WandbLogger),
    }
    loggers: list[RunLogger] = []
    for name, (is_wanted, make) in wanted.items():
        if not is_wanted:
            continue
        try:
            loggers.append(make(experiment, folder, step))
        except ImportError as error:
            raise TrainingError(
                f'logging.{name} needs the package {error.name}; install it or clear the key'
            ) from error
        except Exception as error:  # the clients of servers have errors of their own
            words = ' '.join(str(error).split())[:200]
            raise TrainingError(f'logging.{name}: {words}') from error
    return loggers


def flat(tree: Mapping[str, Any], prefix: str = '', *, words: bool = False) -> dict[str, Any]:
    """
    Name the leaves of a tree by their path.

    :param tree: nested dicts.
    :param prefix: before each name.
    :param words: keep leaves that are no numbers, too.
    :return: ``a/b/c`` to the leaf.
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f'{prefix}{key}/', words=words)
        elif words or (isinstance(value, int | float) and not isinstance(value, bool)):
            found[f'{prefix}{key}'] = value
    return found


@contextmanager
def logged_to(path: Path | None, *, quiet: bool = False) -> Iterator[logging.Logger]:
    """
    Send the sentences of a run to the terminal and to a file.

    :param path: of the file; None to be silent, in all processes but the first.
    :param quiet: not to the terminal.
    :return: the logger of the run.
    :raises TrainingError: if the file cannot be written.
    """
    log = logging.getLogger('mnssd_training.run')
    log.propagate = False
    log.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if path:
        try:
            handlers.append(logging.FileHandler(path, encoding='utf-8'))
        except OSError as error:
            raise TrainingError(f'{path}: cannot be written: {error.strerror}') from error
        handlers[-1].setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
    if path and not quiet:
        handlers.append(logging.StreamHandler(sys.stdout))
        handlers[-1].addFilter(lambda record: record.levelno < logging.ERROR)  # the verb says it
    for handler in handlers:
        handler.addFilter(_mask)
        log.addHandler(handler)
    try:
        yield log
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _mask(record: logging.LogRecord) -> bool:
    """Hide passwords and tokens in a sentence."""
    record.msg, record.args = mask_secrets(record.getMessage()), None
    return True
