"""Report the progress of a run: metrics file, status, loggers and progress bars."""

from collections.abc import Sequence
from dataclasses import dataclass
import time
from typing import Any

from mnssd_perception.overlay import draw_detections
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import load_image
from mnssd_training.train.gpu import GpuUsage
from mnssd_training.train.interrupt import Preempted
from mnssd_training.train.loggers import FinalStatus, flatten_numbers, open_loggers
from mnssd_training.train.progress import RunningMean
from mnssd_training.train.run_folder import RunFolder
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import loss_scale
import numpy as np
from tqdm import tqdm

MIN_SCORE = 0.3  # of the detections in logged images


@dataclass
class Throughput:
    """Speed of some steps."""

    images: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0  # the part of the time spent waiting for images

    def add(self, images: int, seconds: float, data_seconds: float) -> None:
        """Add a step."""
        self.images += images
        self.seconds += seconds
        self.data_seconds += data_seconds

    def rates(self) -> dict[str, float]:
        """Compute images per second, and the fraction of the time spent waiting for data."""
        seconds = max(self.seconds, 1e-9)
        return {
            'images_per_second': round(self.images / seconds, 2),
            'data_wait': round(min(1.0, self.data_seconds / seconds), 4),
        }


class Reporter:
    """Reports the progress of a run on rank 0; on the others, which have no folder, nothing."""

    def __init__(
        self, folder: RunFolder | None, state: TrainState, *, show_progress: bool
    ) -> None:
        self._folder, self._state = folder, state
        step = state.progress.step
        self._loggers = open_loggers(state.experiment, folder.path, step) if folder else []
        # None: tqdm shows a bar if there is a terminal
        self._hides_bar = None if show_progress and folder else True
        self._bar = tqdm(disable=True)
        self._row_speed, self._epoch_speed = Throughput(), Throughput()
        self._step_start = 0.0
        self._gpu = GpuUsage(state.fabric.device)

    def begin_epoch(self) -> None:
        """Start the progress bar and the clock of an epoch."""
        progress, plan = self._state.progress, self._state.plan
        self._bar = tqdm(
            desc=f'epoch {progress.epoch + 1}/{plan.epochs}',
            total=plan.steps_per_epoch,
            initial=progress.step - progress.epoch * plan.steps_per_epoch,
            unit='step',
            disable=self._hides_bar,
            leave=False,
        )
        self._epoch_speed = Throughput()
        self._step_start = time.perf_counter()

    def end_step(self, data_seconds: float) -> None:
        """Report a step; ``data_seconds`` is how long it waited for its images."""
        progress, plan = self._state.progress, self._state.plan
        now = time.perf_counter()
        for speed in (self._row_speed, self._epoch_speed):
            speed.add(plan.batch_size, now - self._step_start, data_seconds)
        self._step_start = now
        self._gpu.sample()
        rates, means = self._row_speed.rates(), progress.row_mean.means()
        learning_rate = self._state.learning_rate_at(progress.step - 1)
        self._bar.set_postfix(
            loss=f'{means["loss"]:.3f}',
            lr=f'{learning_rate:.2e}',
            images=f'{rates["images_per_second"]:.1f}/s',
            refresh=False,
        )
        self._bar.update()
        if progress.step % self._state.experiment.logging.every_steps:
            return
        epoch = round(progress.step / plan.steps_per_epoch, 4)
        row = means | {'learning_rate': learning_rate} | rates | loss_scale(self._state.fabric)
        self._write({'kind': 'step', 'step': progress.step, 'epoch': epoch} | row)
        self._log('train', row)
        progress.row_mean, self._row_speed = RunningMean(), Throughput()

    def end_epoch(self, metrics: dict[str, Any]) -> str:
        """Report an epoch and its evaluation, if any; return a summary for the user."""
        progress = self._state.progress
        self._bar.close()
        row = progress.epoch_mean.means()
        row['learning_rate'] = self._state.learning_rate_at(progress.step - 1)
        row |= self._epoch_speed.rates() | {'seconds': round(self._epoch_speed.seconds, 2)}
        row |= self._gpu.collect()
        counters = {'kind': 'epoch', 'epoch': progress.epoch, 'step': progress.step}
        counters['images'] = progress.step * self._state.plan.batch_size
        self._write(counters | row | metrics)
        self._log('epoch', row)
        self._log('val', metrics)
        score = f', mean AP@0.5 {metrics["map50"]:.4f}' if metrics else ''
        return (
            f'epoch {progress.epoch}/{self._state.plan.epochs}: loss {row["loss"]:.4f}{score}, '
            f'{row["images_per_second"]:.1f} images/s, {row["data_wait"]:.0%} waiting for data'
        )

    def begin_evaluation(self, num_images: int) -> None:
        """Start a progress bar over images."""
        self._bar.close()
        self._bar = tqdm(
            desc='evaluate', total=num_images, unit='image', disable=self._hides_bar, leave=False
        )

    def advance(self, num_images: int) -> None:
        """Advance the progress bar by images."""
        self._bar.update(num_images)

    def log_images(self, detections: Sequence[Detections]) -> None:
        """Log the first validation images: ground truth on the left, detections on the right."""
        if not self._loggers:
            return
        splits = self._state.splits
        samples = splits.val[: self._state.experiment.logging.images]
        for sample, detected in zip(samples, detections):
            keep = detected.scores >= MIN_SCORE
            sides = (
                Detections(sample.boxes, np.ones(len(sample.boxes), np.float32), sample.labels),
                Detections(detected.boxes[keep], detected.scores[keep], detected.labels[keep]),
            )
            image = load_image(sample)
            pair = [draw_detections(image, side, splits.class_names) for side in sides]
            joined = np.concatenate(pair, axis=1)
            for logger in self._loggers:
                logger.add_image(f'val/{sample.name}', joined, self._state.progress.step)

    def __enter__(self) -> 'Reporter':
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the progress bar, and tell the loggers how the run ended."""
        self._bar.close()
        status: FinalStatus = 'failed' if error else 'success'
        if error and issubclass(error, Preempted):
            status = 'preempted'
        for logger in self._loggers:
            logger.close(status)

    def _write(self, row: dict[str, Any]) -> None:
        if self._folder:
            self._folder.append_metrics(row)
            self._folder.write_status('running', self._state.progress)

    def _log(self, group: str, metrics: dict[str, Any]) -> None:
        for logger in self._loggers:
            logger.add_numbers(flatten_numbers(metrics, f'{group}/'), self._state.progress.step)
