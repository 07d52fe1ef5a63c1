"""
Train a network: read batch, forward, loss, backward, step, log, evaluate, save.

Read from top to bottom; callbacks, hooks and a trainer class are left out on purpose.
"""

from collections.abc import Sequence
from contextlib import closing, ExitStack
import logging
from pathlib import Path
from signal import SIGTERM
import time
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.data.dataset import derive_seed
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.distributed import destroy_process_group, make_fabric, run_on_rank_zero
from mnssd_training.train.dry_run import run_summary
from mnssd_training.train.interrupt import Preempted, StopRequest
from mnssd_training.train.lock import lock_folder
from mnssd_training.train.loggers import open_log
from mnssd_training.train.optimizer import set_learning_rate
from mnssd_training.train.progress import RunningMean
from mnssd_training.train.report import Reporter
from mnssd_training.train.run_folder import RunFolder
from mnssd_training.train.run_status import run_status
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import check_finite, clip_gradients, forward_backward, next_batch
from mnssd_training.train.validate import monitored_score, validate
import torch


def train(
    experiment: Experiment,
    run: Path,
    *,
    resume: bool | str = False,
    progress: bool = True,
    stop: StopRequest | None = None,
    arguments: Sequence[str] = (),
) -> Checkpoint:
    """
    Train a network in a run folder; return the last checkpoint.

    :param resume: continue from the newest checkpoint of the run folder, if any; or from the one
        at this path or URL.
    :param stop: when it is requested, the run finishes the current step, saves and raises
        :class:`Preempted`.
    :param arguments: of the command line, recorded in the run folder.
    :raises MnssdError: naming the invalid file, key or images.
    """
    folder, stop = RunFolder(run), stop or StopRequest()
    fabric = make_fabric(experiment.training)
    rank_zero_folder = folder if fabric.is_global_zero else None
    with ExitStack() as stack:
        lock_warning = run_on_rank_zero(fabric, lambda: stack.enter_context(lock_folder(run)))
        resume_point = run_on_rank_zero(fabric, lambda: folder.find_checkpoint(resume))
        state = TrainState(fabric, experiment)
        if resume_point:
            state.restore(resume_point.checkpoint, resume_point.name)
        renamed_files = run_on_rank_zero(
            fabric, lambda: folder.begin(experiment, arguments, state.progress, resume_point)
        )
        stack.enter_context(run_status(rank_zero_folder, state.progress, stop))
        log = stack.enter_context(
            open_log(run / 'train.log' if rank_zero_folder else None, quiet=not progress)
        )
        reporter = stack.enter_context(Reporter(rank_zero_folder, state, show_progress=progress))
        for line in filter(None, (lock_warning, *renamed_files, *state.warnings)):
            log.warning(f'warning: {line}')
        for line in run_summary(state, resume_point):
            log.info(line)
        checkpoint = _run_epochs(state, folder, reporter, log, stop)
    destroy_process_group()
    return checkpoint


def _run_epochs(  # noqa: PLR0915 (read from top to bottom)
    state: TrainState,
    folder: RunFolder,
    reporter: Reporter,
    log: logging.Logger,
    stop: StopRequest,
) -> Checkpoint:
    """Run the remaining steps and epochs, on all ranks; return the last checkpoint."""
    experiment, fabric, plan, progress = state.experiment, state.fabric, state.plan, state.progress
    config, val_samples = experiment.training, state.splits.val
    keep, save_every = experiment.checkpoint.keep_last, experiment.checkpoint.every_steps
    save_every_epochs = experiment.checkpoint.every_epochs

    def save() -> Checkpoint:
        checkpoint = state.to_checkpoint()
        with stop.deferred():
            run_on_rank_zero(fabric, lambda: folder.save(checkpoint, keep))
        return checkpoint

    def report_images(num_images: int) -> None:
        reporter.advance(num_images)
        if fabric.world_size == 1:  # other ranks would wait for the one that stops
            stop.check()

    checkpoint = state.to_checkpoint()
    with closing(state.read_steps()) as steps:
        while progress.epoch < plan.epochs:
            if 0 < config.early_stopping_patience <= progress.evals_since_best:
                break
            state.begin_epoch()
            reporter.begin_epoch()
            while progress.step < (progress.epoch + 1) * plan.steps_per_epoch:
                start = time.perf_counter()
                batches = next_batch(fabric, steps)
                data_seconds = time.perf_counter() - start
                # Layers such as dropout draw by the step, however often the run was resumed.
                seed = derive_seed(config.seed, 'step', progress.step, fabric.global_rank)
                torch.manual_seed(seed)
                learning_rate = state.learning_rate_at(progress.step)
                set_learning_rate(state.optimizer.param_groups, learning_rate)
                state.optimizer.zero_grad(set_to_none=True)
                losses = forward_backward(state, batches)
                norm = clip_gradients(state)
                # One reduction for the losses, and for whether any rank was asked to stop.
                sums = torch.cat((losses, losses.new_tensor([float(stop.signum > 0)])))
                *totals, stop_requests = fabric.all_reduce(sums, reduce_op='sum').tolist()
                check_finite(state, totals[0], float(norm), batches)
                state.optimizer.step()
                state.ema.update(state.network, progress.step)
                progress.step += 1
                for mean in (progress.row_mean, progress.epoch_mean):
                    mean.add([*totals, float(norm)])
                reporter.end_step(data_seconds)
                if stop_requests or (save_every and progress.step % save_every == 0):
                    checkpoint = save()
                if stop_requests:
                    raise Preempted(stop.signum or SIGTERM)

            metrics: dict[str, Any] = {}
            is_best = not val_samples
            is_last = progress.epoch + 1 == plan.epochs
            if val_samples and (
                is_last or (progress.epoch + 1) % experiment.evaluation.every_epochs == 0
            ):
                save()  # a crash of the evaluation does not lose the epoch
                reporter.begin_evaluation(len(val_samples))
                groups = experiment.evaluation.groups
                metrics, detections = validate(
                    fabric, state.ema.model, val_samples, report_images, groups
                )
                state.metrics = metrics
                score = monitored_score(metrics, experiment.evaluation.monitor)
                is_best = score > progress.best_score
                progress.best_score = max(score, progress.best_score)
                progress.evals_since_best = 0 if is_best else progress.evals_since_best + 1
                reporter.log_images(detections)
            progress.epoch += 1
            log.info(reporter.end_epoch(metrics))
            progress.epoch_mean = RunningMean()
            if is_best:
                best = state.to_checkpoint(is_resumable=False)
                with stop.deferred():
                    run_on_rank_zero(fabric, lambda: folder.save_best(best))  # noqa: B023
            is_stopping = fabric.world_size == 1 and stop.signum
            if metrics or is_last or is_stopping or progress.epoch % save_every_epochs == 0:
                checkpoint = save()
            if progress.epoch < plan.epochs and is_stopping:
                stop.check()
    return checkpoint
