"""
The training loop, read from top to bottom: batch, forward, loss, backward, step, log, checkpoint.

Left out on purpose: callbacks, hooks and a trainer class.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
import json
from pathlib import Path
import textwrap
from threading import Event
import time
from typing import Any, Literal

from mnssd_perception.errors import MnssdError
from mnssd_perception.plain import to_plain
from mnssd_perception.ssd import (
    FeatureMap,
    finetune_feature_maps,
    ModelSpec,
    original_feature_maps,
)
from mnssd_training.config import Experiment
from mnssd_training.data import read_voc, Sample
from mnssd_training.data.dataset import Batch, collate, EpochSampler, TrainingSet
from mnssd_training.data.voc import read_classes
from mnssd_training.errors import CheckpointError, TrainingError
from mnssd_training.evaluation import evaluate_model
from mnssd_training.loss import multibox_loss
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.priors import clustered_feature_maps, network_sizes
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnssd_training.train.ema import Ema
from mnssd_training.train.schedule import learning_rate_factor
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

__all__ = ['make_spec', 'train']


def train(  # noqa: PLR0912, PLR0915 (the loop is read from top to bottom)
    experiment: Experiment,
    run: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    stop: Event | None = None,
) -> Checkpoint:
    """
    Train a network.

    :param experiment: what to train on what.
    :param run: folder for ``last.pt``, ``best.pt``, ``metrics.jsonl`` and ``experiment.json``.
    :param resume: go on from ``last.pt`` where there is one.
    :param progress: show a progress bar.
    :param stop: when it is set, the step at hand is finished and saved.
    :return: the last checkpoint.
    :raises MnssdError: naming the file, the key or the photographs that are wrong.
    :raises KeyboardInterrupt: after ``stop``.
    """
    stop = stop or Event()
    config = experiment.training
    device = _device(config.device)
    root = Path(experiment.data.root)
    classes = read_classes(root)
    samples = read_voc(root, experiment.data.train_split, classes)
    validation = read_voc(root, experiment.data.val_split, classes)
    spec = make_spec(experiment, samples, classes)
    batch_size = min(config.batch_size, len(samples))
    steps_an_epoch = len(samples) // batch_size
    total = config.epochs * steps_an_epoch

    torch.manual_seed(config.seed)
    model = build_model(spec, experiment.model)
    if experiment.backbone_weights:
        model.backbone.load_imagenet(experiment.backbone_weights)
    if experiment.initial_checkpoint:
        _fine_tune(model, Path(experiment.initial_checkpoint))
    model.to(device, memory_format=torch.channels_last)
    ema = Ema(model, config.ema_decay)
    optimizer = torch.optim.AdamW(_parameter_groups(model, experiment), lr=config.learning_rate)
    peaks = [group['lr'] for group in optimizer.param_groups]
    dataset = TrainingSet(samples, spec, experiment.augmentation, experiment.matching, config.seed)

    last = run / 'last.pt'
    step, best = 0, -1.0
    if resume and last.exists():
        step, best = _restore(last, experiment, spec, model, ema, optimizer)
    elif last.exists():
        raise CheckpointError(f'{run}: holds a run already; resume it or choose another folder')
    _write(run / 'experiment.json', 'w', json.dumps(to_plain(experiment), indent=2))

    checkpoint = None
    while step < total:
        epoch, done = divmod(step, steps_an_epoch)
        sampler = EpochSampler(len(samples), batch_size, epoch, config.seed, start=done)
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=config.workers,
            collate_fn=collate,
            pin_memory=device.type == 'cuda',
        )
        model.train()
        sums, started = torch.zeros(3), time.perf_counter()
        bar = tqdm(loader, f'epoch {epoch + 1}/{config.epochs}', disable=not progress)
        for batch in _on(device, bar):
            factor = learning_rate_factor(step, total, config.warmup_steps, config.final_factor)
            for group, peak in zip(optimizer.param_groups, peaks):
                group['lr'] = peak * factor
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == 'bf16'):
                logits, offsets = model(batch.images)
            losses = multibox_loss(logits, offsets, batch.classes, batch.offsets, experiment.loss)
            optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            if not torch.isfinite(losses.total + norm):
                raise TrainingError(
                    f'the loss is {losses.total.item()} and its gradient {norm.item()} '
                    f'in step {step}; the batch was {", ".join(batch.names)}'
                )
            optimizer.step()
            ema.update(model, step)
            step += 1
            sums += torch.stack((losses.total, losses.classes, losses.boxes)).detach().cpu()
            bar.set_postfix(loss=f'{losses.total.item():.3f}')
            # Not at the end of the epoch: resuming from there would leave out its score.
            is_due = config.save_every and step % config.save_every == 0
            if (is_due or stop.is_set()) and step % steps_an_epoch:
                save_checkpoint(last, _pack(experiment, spec, model, ema, optimizer, step, best))
                if stop.is_set():
                    raise KeyboardInterrupt

        epoch += 1
        loss, class_loss, box_loss = (sums / max(1, len(loader))).tolist()
        row: dict[str, Any] = {
            'epoch': epoch,
            'step': step,
            'loss': loss,
            'class_loss': class_loss,
            'box_loss': box_loss,
            'learning_rate': optimizer.param_groups[-1]['lr'],
            'seconds': round(time.perf_counter() - started, 2),
        }
        metrics: dict[str, Any] = {}
        if epoch % config.evaluate_every == 0 or step == total:
            metrics = evaluate_model(ema.model, validation)
            row |= metrics
        checkpoint = _pack(experiment, spec, model, ema, optimizer, step, best, metrics)
        if metrics and metrics['map50'] > best:
            best = metrics['map50']
            checkpoint = _pack(experiment, spec, model, ema, optimizer, step, best, metrics)
            save_checkpoint(run / 'best.pt', replace(checkpoint, training=None))
        save_checkpoint(last, checkpoint)
        _write(run / 'metrics.jsonl', 'a', json.dumps(row))
        if stop.is_set() and step < total:
            raise KeyboardInterrupt
    return checkpoint or load_checkpoint(last)


def make_spec(
    experiment: Experiment, samples: list[Sample], classes: tuple[str, ...]
) -> ModelSpec:
    """
    Make the specification of the network that an experiment asks for.

    :param experiment: what to train.
    :param samples: the training set, whose boxes give the priors.
    :param classes: names in the order of the labels.
    :return: the specification.
    """
    size, priors = experiment.input.size, experiment.priors
    levels: tuple[FeatureMap, ...]
    if priors.layout == 'clustered':
        boxes = network_sizes(samples, size, experiment.input.resize)
        levels = clustered_feature_maps(
            boxes, size, priors.strides, priors.a_cell, experiment.training.seed
        )
    else:
        layouts = {'original': original_feature_maps, 'finetune': finetune_feature_maps}
        levels = layouts[priors.layout](size)
    return ModelSpec(size, classes, levels, experiment.input.resize)


def _fine_tune(model: MobileNetSsd, path: Path) -> None:
    """Start from the averaged weights of another run."""
    try:
        model.load_state_dict(load_checkpoint(path).weights)
    except (RuntimeError, TypeError) as error:
        words = textwrap.shorten(str(error), 200)
        raise CheckpointError(f'{path}: its network is another one: {words}') from error


def _parameter_groups(model: MobileNetSsd, experiment: Experiment) -> list[dict[str, Any]]:
    """Group weights by learning rate and decay: norms and biases do not decay."""
    config = experiment.training
    backbone = config.backbone_factor if experiment.backbone_weights else 1.0
    groups = []
    for part, factor in (
        (model.backbone, backbone),
        (model.pyramid, 1.0),
        (model.logits, 1.0),
        (model.offsets, 1.0),
    ):
        weights = [p for p in part.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in part.parameters() if p.requires_grad and p.ndim <= 1]
        rate = config.learning_rate * factor
        groups.append({'params': weights, 'lr': rate, 'weight_decay': config.weight_decay})
        groups.append({'params': others, 'lr': rate, 'weight_decay': 0.0})
    return groups


def _pack(
    experiment: Experiment,
    spec: ModelSpec,
    model: MobileNetSsd,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    step: int,
    best: float,
    metrics: dict[str, Any] | None = None,
) -> Checkpoint:
    """Collect what a checkpoint holds."""
    return Checkpoint(
        spec,
        experiment.model,
        to_plain(experiment),
        ema.model.state_dict(),
        {
            'model': model.state_dict(),
            'optimizer': optimizer.state_dict(),
            'step': step,
            'best': best,
        },
        step,
        metrics or {},
    )


def _restore(
    path: Path,
    experiment: Experiment,
    spec: ModelSpec,
    model: MobileNetSsd,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
) -> tuple[int, float]:
    """Go on from a checkpoint: return the step and the best score."""
    checkpoint = load_checkpoint(path)
    if checkpoint.spec != spec or checkpoint.experiment != to_plain(experiment):
        raise CheckpointError(f'{path}: belongs to another experiment; choose another folder')
    if checkpoint.training is None:
        raise CheckpointError(f'{path}: holds weights only, nothing to resume from')
    try:
        model.load_state_dict(checkpoint.training['model'])
        ema.model.load_state_dict(checkpoint.weights)
        optimizer.load_state_dict(checkpoint.training['optimizer'])
        return int(checkpoint.training['step']), float(checkpoint.training['best'])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        words = textwrap.shorten(str(error), 200)
        raise CheckpointError(f'{path}: its state does not fit this network: {words}') from error


def _write(path: Path, mode: Literal['a', 'w'], line: str) -> None:
    """Write a text beside the checkpoints."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding='utf-8') as file:
            file.write(f'{line}\n')
    except OSError as error:
        raise TrainingError(f'{path}: cannot be written: {error.strerror}') from error


def _on(device: torch.device, batches: Iterable[Batch | MnssdError]) -> Iterator[Batch]:
    """Move batches to the device, and raise the error that a worker met."""
    for batch in batches:
        if isinstance(batch, MnssdError):
            raise batch
        yield batch.to(device)


def _device(name: str) -> torch.device:
    """Choose the device."""
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        return torch.empty(0, device=name).device
    except (AssertionError, RuntimeError) as error:  # no such device, or not in this torch
        raise TrainingError(
            f'training.device={name}: {textwrap.shorten(str(error), 200)}'
        ) from error
