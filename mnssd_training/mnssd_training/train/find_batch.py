"""An experiment to the number of images that its devices can see at once."""

from collections.abc import Iterator
from dataclasses import dataclass
import math
import os
import resource
import time

from lightning_fabric import Fabric
from mnssd_training.config import Experiment
from mnssd_training.data.dataset import Batch, collate
from mnssd_training.train.devices import make_fabric
from mnssd_training.train.sizes import input_sizes
from mnssd_training.train.state import set_up, State
from mnssd_training.train.step import backward, device_priors
import torch

REPEATS = 3  # timed steps of each size, after one that is not
NEARLY = 0.95  # of the best speed


@dataclass(frozen=True)
class Measured:
    """
    What a step of some images takes.

    :ivar batch_size: how many.
    :ivar images_per_second: without the loading.
    :ivar memory: bytes at most: of a GPU, what its tensors take; of a CPU, the whole process.
    """

    batch_size: int
    images_per_second: float
    memory: int


def measure_batches(experiment: Experiment, limit: int) -> Iterator[Measured]:
    """
    Double the batch until memory is full.

    The largest input that training draws is measured, on real images.

    :param experiment: what would be trained; nothing of it is kept.
    :param limit: largest batch to try.
    :return: one for each size that fits.
    :raises MnssdError: naming the file or the key that is wrong.
    """
    alone = experiment.training.model_copy(
        update={'batch_size': 1, 'grad_accum_steps': 1, 'devices': 1, 'nodes': 1, 'compile': False}
    )
    experiment = experiment.model_copy(update={'training': alone})
    fabric = make_fabric(experiment.training)
    state = set_up(fabric, experiment)
    state.model.train()
    size = max(input_sizes(state.plan.total, experiment), key=math.prod)
    num, before = 1, _memory(fabric)
    while num <= limit:
        keys = [(0, index % len(state.prepared.dataset), size) for index in range(num)]
        batch = collate(state.prepared.dataset.__getitems__(keys))
        if not isinstance(batch, Batch):
            raise batch
        try:
            measured = _measure(fabric, state, batch)
        except torch.OutOfMemoryError:
            return
        yield measured
        needed = 2 * (measured.memory - before)  # by the next, at most
        if fabric.device.type == 'cpu' and measured.memory + needed > _free_memory():
            return
        num *= 2


def suggest(measured: list[Measured]) -> int:
    """
    Choose a batch size.

    :param measured: all that fit.
    :return: the smallest that is nearly as fast as the fastest; 0 if none fits.
    """
    best = max((one.images_per_second for one in measured), default=0.0)
    return next((one.batch_size for one in measured if one.images_per_second >= NEARLY * best), 0)


def _measure(fabric: Fabric, state: State, batch: Batch) -> Measured:
    """Time some steps, the first one not."""
    priors = device_priors(state.prepared.spec, fabric.device)
    if fabric.device.type == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(fabric.device)
    started = 0.0
    for repeat in range(1 + REPEATS):
        if repeat == 1:
            _finish(fabric)
            started = time.perf_counter()
        state.optimizer.zero_grad(set_to_none=True)
        backward(fabric, state.model, state.prepared.criterion, [batch], priors)
        state.optimizer.step()
    _finish(fabric)
    seconds = time.perf_counter() - started
    num = len(batch.names)
    return Measured(num, REPEATS * num / seconds, _memory(fabric))


def _finish(fabric: Fabric) -> None:
    """Wait for the GPU."""
    if fabric.device.type == 'cuda':
        torch.cuda.synchronize(fabric.device)


def _memory(fabric: Fabric) -> int:
    """Tell how much memory was taken at most, bytes."""
    if fabric.device.type == 'cuda':
        return int(torch.cuda.max_memory_allocated(fabric.device))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB


def _free_memory() -> int:
    """Tell how much memory of the machine is free or taken by this process, bytes."""
    page = os.sysconf('SC_PAGE_SIZE')
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return page * os.sysconf('SC_AVPHYS_PAGES') + own
