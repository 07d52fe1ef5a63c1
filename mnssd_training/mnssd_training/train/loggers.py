"""Log metrics to TensorBoard, MLflow or Weights & Biases, and messages to a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import logging
from pathlib import Path
import re
import sys
from typing import Any, Literal, Protocol

from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, to_stored
from mnssd_training.errors import TrainingError
import numpy as np
from numpy.typing import NDArray

MAX_PARAM_LENGTH = 500  # characters that every MLflow server accepts
MLFLOW_STATUS = {'success': 'FINISHED', 'failed': 'FAILED', 'preempted': 'KILLED'}

FinalStatus = Literal['success', 'failed', 'preempted']


class MetricsLogger(Protocol):
    """Where metrics go, beside ``metrics.jsonl``."""

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Log metrics."""

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Log an ``(H, W, 3)`` RGB image."""

    def close(self, status: FinalStatus) -> None:
        """Flush, and record how the run ended."""


class _TensorBoardLogger:
    """Writes events to ``tensorboard/`` in the run folder."""

    def __init__(self, experiment: Experiment, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1)

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        self._writer.add_image(name, image, step, dataformats='HWC')

    def close(self, status: FinalStatus) -> None:
        self._writer.close()


class _MlflowLogger:
    """Writes to a run on an MLflow server or in a folder; a resumed run continues it."""

    def __init__(self, experiment: Experiment, folder: Path, step: int) -> None:
        import mlflow

        mlflow.set_tracking_uri(experiment.logging.mlflow)
        mlflow.set_experiment(experiment.experiment.id)
        id_file = folder / 'mlflow_run.txt'
        run_id = id_file.read_text().strip() if step and id_file.exists() else None
        run = mlflow.start_run(run_id=run_id, run_name=folder.name)
        id_file.write_text(run.info.run_id)
        if not run_id:
            params = flatten(to_stored(experiment))
            mlflow.log_params({key: str(value)[:MAX_PARAM_LENGTH] for key, value in params})
        self._mlflow = mlflow

    def add_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        # MLflow refuses other characters, which the name of a class may have
        metrics = {re.sub(r'[^/\w. -]', '_', name): value for name, value in numbers.items()}
        self._mlflow.log_metrics(metrics, step=step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        self._mlflow.log_image(image, f'{name}/{step}.png')

    def close(self, status: FinalStatus) -> None:
        self._mlflow.end_run(MLFLOW_STATUS[status])


class _WandbLogger:
    """Writes to a run of Weights & Biases; a resumed run continues it."""

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
        self._run.log(dict(numbers), step=step)

    def add_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self, status: FinalStatus) -> None:
        self._run.finish(exit_code=int(status != 'success'))


def open_loggers(experiment: Experiment, folder: Path, step: int) -> list[MetricsLogger]:
    """
    Open the loggers of an experiment; TensorBoard hides what was written after ``step``.

    :raises TrainingError: if a package is missing, or a server does not answer.
    """
    config = experiment.logging
    choices: dict[str, tuple[object, Any]] = {
        'tensorboard': (config.tensorboard, _TensorBoardLogger),
        'mlflow': (config.mlflow, _MlflowLogger),
        'wandb': (config.wandb, _WandbLogger),
    }
    loggers: list[MetricsLogger] = []
    for name, (is_enabled, logger_class) in choices.items():
        if not is_enabled:
            continue
        try:
            loggers.append(logger_class(experiment, folder, step))
        except ImportError as error:
            raise TrainingError(
                f'logging.{name} needs the package {error.name}; install it or clear the key'
            ) from error
        except Exception as error:  # the clients of servers have errors of their own
            reason = ' '.join(str(error).split())[:200]
            raise TrainingError(f'logging.{name}: {reason}') from error
    return loggers


def flatten(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """List the leaves of nested dicts, named ``a/b/c``."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f'{prefix}{key}/')
        else:
            yield f'{prefix}{key}', value


def flatten_numbers(tree: Mapping[str, Any], prefix: str = '') -> dict[str, float]:
    """Collect the numbers in nested dicts, named ``a/b/c``."""
    return {
        name: value
        for name, value in flatten(tree, prefix)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@contextmanager
def open_log(path: Path | None, *, quiet: bool = False) -> Iterator[logging.Logger]:
    """
    Open the log of a run: its messages go to a file and, unless ``quiet``, to the terminal.

    :param path: None to log nothing, on all ranks but 0.
    """

    def mask_record(record: logging.LogRecord) -> bool:
        record.msg, record.args = mask_secrets(record.getMessage()), None
        return True

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
        # the command prints errors itself
        handlers[-1].addFilter(lambda record: record.levelno < logging.ERROR)
    for handler in handlers:
        handler.addFilter(mask_record)
        log.addHandler(handler)
    try:
        yield log
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
