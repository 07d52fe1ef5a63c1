"""How a run goes, to its rows of numbers, its loggers and the terminal."""

from collections.abc import Sequence
import time
from typing import Any

from mnssd_perception.overlay import draw_detections
from mnssd_perception.ssd import Detections
from mnssd_training.config import Experiment
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.train.batches import Plan
from mnssd_training.train.logs import flat, open_loggers
from mnssd_training.train.progress import Progress, Sums
from mnssd_training.train.run import RunFolder
import numpy as np
from tqdm import tqdm

DRAWN_FROM = 0.3  # score of the detections in the images


class Reporter:
    """
    Tells how a run goes.

    :param folder: gets the rows; None to be silent, in all processes but the first.
    :param experiment: with ``logging``.
    :param plan: of the run.
    :param step: steps done.
    :param progress: show bars, where there is a terminal.
    :raises TrainingError: if a logger cannot be opened.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        experiment: Experiment,
        plan: Plan,
        step: int,
        *,
        progress: bool,
    ) -> None:
        self._folder, self._plan = folder, plan
        self._every_steps = experiment.logging.every_steps
        self._num_images = experiment.logging.images
        self._loggers = open_loggers(experiment, folder.path, step) if folder else []
        # None: not without a terminal
        self._no_bar = None if progress and folder else True
        self._row_clock, self._epoch_clock = Clock(), Clock()
        self._bar = tqdm(disable=True)

    def begin_epoch(self, done: Progress) -> None:
        """Start a bar; what happened before is not the time of a step."""
        steps = self._plan.steps_per_epoch
        self._bar = tqdm(
            desc=f'epoch {done.epoch + 1}/{self._plan.epochs}',
            total=steps,
            initial=done.step - done.epoch * steps,
            unit='step',
            disable=self._no_bar,
            leave=False,
        )
        self._row_clock.go_on()
        self._epoch_clock = Clock()
        self._epoch_clock.go_on()

    def step(self, done: Progress, rate: float, waited: float, **more: float) -> None:
        """
        Tell that a step is done.

        :param done: how far the run is; its sums are emptied after a row.
        :param rate: the learning rate.
        :param waited: seconds that the step waited for its images.
        :param more: further numbers.
        """
        for clock in (self._row_clock, self._epoch_clock):
            clock.step(self._plan.batch_size, waited)
        speed = self._row_clock.rates()
        self._bar.set_postfix(
            loss=f'{done.since_row.means()["loss"]:.3f}',
            rate=f'{rate:.2e}',
            images=f'{speed["images_per_second"]:.1f}/s',
            refresh=False,
        )
        self._bar.update()
        if done.step % self._every_steps:
            return
        epoch = round(done.step / self._plan.steps_per_epoch, 4)
        row = done.since_row.means() | {'learning_rate': rate} | speed | more
        self._write({'kind': 'step', 'step': done.step, 'epoch': epoch} | row, done)
        self._log('train', row, done.step)
        done.since_row = Sums()
        self._row_clock = Clock()
        self._row_clock.go_on()

    def end_epoch(self, done: Progress, rate: float, scores: dict[str, Any]) -> str:
        """
        Tell that an epoch is done.

        :param done: how far the run is.
        :param rate: the learning rate.
        :param scores: empty if it was not scored.
        :return: a sentence for people.
        """
        self._bar.close()
        row = done.since_epoch.means() | {'learning_rate': rate} | self._epoch_clock.rates()
        row['seconds'] = round(self._epoch_clock.seconds, 2)
        self._write({'kind': 'epoch', 'epoch': done.epoch, 'step': done.step} | row | scores, done)
        self._log('epoch', row, done.step)
        self._log('val', scores, done.step)
        score = f', mean AP@0.5 {scores["map50"]:.4f}' if scores else ''
        return (
            f'epoch {done.epoch}/{self._plan.epochs}: loss {row["loss"]:.4f}{score}, '
            f'{row["images_per_second"]:.1f} images/s, waited {row["data_wait"]:.0%} for data'
        )

    def begin_score(self, num_samples: int) -> None:
        """Start a bar over the images that this process looks at."""
        self._bar.close()
        self._bar = tqdm(
            desc='score', total=num_samples, unit='image', disable=self._no_bar, leave=False
        )

    def scored(self, num_samples: int) -> None:
        """Tell that images were looked at."""
        self._bar.update(num_samples)

    def pictures(
        self,
        samples: Sequence[Sample],
        found: Sequence[Detections],
        names: Sequence[str],
        step: int,
    ) -> None:
        """
        Draw the first images, annotated boxes on the left and detections on the right.

        :param samples: the images.
        :param found: what was found in each.
        :param names: of the classes.
        :param step: steps done.
        """
        for sample, one in zip(samples[: self._num_images], found) if self._loggers else ():
            image, sure = load_image(sample), one.scores >= DRAWN_FROM
            certain = np.ones(len(sample.boxes), np.float32)
            pair = [
                Detections(sample.boxes, certain, sample.labels),
                Detections(one.boxes[sure], one.scores[sure], one.labels[sure]),
            ]
            drawn = np.concatenate([draw_detections(image, side, names) for side in pair], axis=1)
            for logger in self._loggers:
                logger.add_image(f'val/{sample.name}', drawn, step)

    def close(self) -> None:
        """Take the bar away and write what the loggers hold in memory."""
        self._bar.close()
        for logger in self._loggers:
            logger.close()

    def _write(self, row: dict[str, Any], done: Progress) -> None:
        """Add a row and bring the status up to date."""
        if self._folder:
            self._folder.add_row(row)
            self._folder.tell('running', done)

    def _log(self, group: str, numbers: dict[str, Any], step: int) -> None:
        """Send numbers to the loggers."""
        for logger in self._loggers:
            logger.add_numbers(flat(numbers, f'{group}/'), step)


class Clock:
    """Seconds of steps; the time between them is not counted where it is not theirs."""

    def __init__(self) -> None:
        self.seconds, self._waited, self._images = 0.0, 0.0, 0
        self._mark = 0.0

    def go_on(self) -> None:
        """Begin to count."""
        self._mark = time.perf_counter()

    def step(self, images: int, waited: float) -> None:
        """Count a step."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._mark = now
        self._images += images
        self._waited += waited

    def rates(self) -> dict[str, float]:
        """Tell images per second, and the part of the time that was spent waiting for them."""
        seconds = max(self.seconds, 1e-9)
        return {
            'images_per_second': round(self._images / seconds, 2),
            'data_wait': round(min(1.0, self._waited / seconds), 4),
        }
