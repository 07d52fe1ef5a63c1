"""
The training loop, read from top to bottom: batch, forward, loss, backward, step, log, checkpoint.

Left out on purpose: callbacks, hooks and a trainer class.
"""

from collections.abc import Sequence
from contextlib import closing, ExitStack
from dataclasses import replace
import logging
import math
from pathlib import Path
from signal import SIGTERM
import time
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.data.dataset import derive_seed
from mnssd_training.train.batches import read_steps
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.devices import make_fabric, release, run_on_rank_zero
from mnssd_training.train.interrupt import Preempted, Stop
from mnssd_training.train.introduction import introduction
from mnssd_training.train.lock import locked
from mnssd_training.train.logs import logged_to
from mnssd_training.train.optimizer import set_rate
from mnssd_training.train.outcome import told
from mnssd_training.train.progress import Progress, Sums
from mnssd_training.train.report import Reporter
from mnssd_training.train.run import RunFolder
from mnssd_training.train.schedule import rate_factor
from mnssd_training.train.score import score, score_of
from mnssd_training.train.sizes import input_size
from mnssd_training.train.state import set_up, State
from mnssd_training.train.step import backward, check_finite, device_priors, loss_scale, take
import torch


def train(
    experiment: Experiment,
    run: Path,
    *,
    resume: bool | str = False,
    progress: bool = True,
    stop: Stop | None = None,
    arguments: Sequence[str] = (),
) -> Checkpoint:
    """
    Train a network.

    :param experiment: what to train on what.
    :param run: the folder for everything that the run leaves.
    :param resume: go on from the newest checkpoint that can be read, where there is one; or from
        the one at this path or URL.
    :param progress: show progress bars and say how it goes.
    :param stop: when it is told to, the step at hand is finished and saved.
    :param arguments: of the command line, to be written down.
    :return: the last checkpoint.
    :raises MnssdError: naming the file, the key or the images that are wrong.
    :raises Preempted: after ``stop``.
    """
    folder, stop = RunFolder(run), stop or Stop()
    fabric = make_fabric(experiment.training)
    own = folder if fabric.is_global_zero else None
    with ExitStack() as stack:
        no_lock = run_on_rank_zero(fabric, lambda: stack.enter_context(locked(run)))
        found = run_on_rank_zero(fabric, lambda: folder.find(resume))
        state = set_up(fabric, experiment)
        done = state.restore(found) if found else Progress()
        set_aside = run_on_rank_zero(
            fabric, lambda: folder.begin(experiment, arguments, done, found)
        )
        stack.enter_context(told(own, done, stop))
        log = stack.enter_context(
            logged_to(run / 'train.log' if own else None, quiet=not progress)
        )
        reporter = stack.enter_context(
            closing(Reporter(own, experiment, state.plan, done.step, progress=progress))
        )
        for line in filter(None, (no_lock, *set_aside, *state.prepared.warnings)):
            log.warning(f'warning: {line}')
        for line in introduction(state, found):
            log.info(line)
        metrics = found.checkpoint.metrics if found else {}
        last = _loop(state, folder, done, metrics, reporter, log, stop)
    release()
    return last


def _loop(  # noqa: PLR0915 (it is read from top to bottom)
    state: State,
    folder: RunFolder,
    done: Progress,
    metrics: dict[str, Any],
    reporter: Reporter,
    log: logging.Logger,
    stop: Stop,
) -> Checkpoint:
    """Go through the steps and epochs that are left; all processes of a run come here."""
    experiment, plan, fabric = state.experiment, state.plan, state.fabric
    config, splits = experiment.training, state.prepared.splits
    priors = device_priors(state.prepared.spec, fabric.device)
    keep, save_every = experiment.checkpoint.keep_last, experiment.checkpoint.every_steps

    def rate_at(step: int) -> float:
        factor = rate_factor(step, plan.total, plan.steps_per_epoch, experiment.scheduler)
        return experiment.optimizer.learning_rate * factor

    def save() -> Checkpoint:
        checkpoint = state.pack(done, metrics)
        with stop.held():
            run_on_rank_zero(fabric, lambda: folder.save(checkpoint, keep))
        return checkpoint

    def save_best() -> None:
        best = replace(state.pack(done, metrics), training=None)
        with stop.held():
            run_on_rank_zero(fabric, lambda: folder.save_best(best))

    def looked_at(num_samples: int) -> None:
        reporter.scored(num_samples)
        if fabric.world_size == 1:  # several would wait for the one that stops
            stop.check()

    steps = read_steps(
        state.prepared.dataset,
        plan,
        start=done.step,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=config.workers,
        device=fabric.device,
        size_of=lambda step: input_size(step, plan.total, experiment),
    )
    checkpoint = state.pack(done, metrics)
    with closing(steps):
        while done.epoch < plan.epochs and not _is_stale(done, config.early_stopping_patience):
            state.model.train()
            reporter.begin_epoch(done)
            while done.step < (done.epoch + 1) * plan.steps_per_epoch:
                asked = time.perf_counter()
                parts = take(fabric, steps)
                waited = time.perf_counter() - asked
                # Layers that drop at random do so by the step, however often the run was resumed.
                torch.manual_seed(derive_seed(config.seed, 'step', done.step, fabric.global_rank))
                set_rate(state.optimizer.param_groups, rate_at(done.step))
                state.optimizer.zero_grad(set_to_none=True)
                losses = backward(fabric, state.model, state.prepared.criterion, parts, priors)
                norm = fabric.clip_gradients(
                    state.model,
                    state.optimizer,
                    max_norm=experiment.optimizer.clip_grad_norm or math.inf,
                    error_if_nonfinite=False,
                )
                # One reduction for the numbers, and for whether any process was told to stop.
                numbers = torch.cat((losses, losses.new_tensor([float(stop.signum > 0)])))
                *totals, stopping = fabric.all_reduce(numbers, reduce_op='sum').tolist()
                check_finite(fabric, totals[0], float(norm), done.step, parts)
                state.optimizer.step()
                state.ema.update(state.network, done.step)
                done.step += 1
                done.add([*totals, float(norm)])
                reporter.step(done, rate_at(done.step - 1), waited, **loss_scale(fabric))
                if stopping or (save_every and done.step % save_every == 0):
                    checkpoint = save()
                if stopping:
                    raise Preempted(stop.signum or SIGTERM)

            scores: dict[str, Any] = {}
            is_better = not splits.val
            is_last = done.epoch + 1 == plan.epochs
            if splits.val and (
                is_last or (done.epoch + 1) % experiment.evaluation.every_epochs == 0
            ):
                save()  # what was learnt is safe while it is scored
                reporter.begin_score(len(splits.val))
                metrics, detections = score(fabric, state.ema.model, splits.val, looked_at)
                scores, value = metrics, score_of(metrics, experiment.evaluation.monitor)
                is_better = value > done.best
                done.best, done.stale = max(value, done.best), 0 if is_better else done.stale + 1
                reporter.pictures(splits.val, detections, splits.class_names, done.step)
            done.epoch += 1
            log.info(reporter.end_epoch(done, rate_at(done.step - 1), scores))
            done.since_epoch = Sums()
            if is_better:
                save_best()
            checkpoint = save()
            if done.epoch < plan.epochs and fabric.world_size == 1:
                stop.check()
    return checkpoint


def _is_stale(done: Progress, patience: int) -> bool:
    """Tell whether the run ends before its end, because it gets no better."""
    return 0 < patience <= done.stale
