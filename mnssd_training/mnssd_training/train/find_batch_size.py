"""Find the batch size that suits a machine: double it until memory is full."""

from collections.abc import Iterator
from dataclasses import dataclass
import math
import os
import resource
import time

from mnssd_training.config import Experiment
from mnssd_training.data.dataset import Batch, collate
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.schedule import input_sizes
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import forward_backward
import torch

TIMED_STEPS = 3  # of each size, after one that is not timed
NEARLY = 0.95  # of the best speed


@dataclass(frozen=True)
class BatchCost:
    """Speed and memory of a training step."""

    batch_size: int
    images_per_second: float  # without loading the images
    memory: int  # peak, bytes: of the tensors on a GPU, of the process on a CPU


def measure_batch_sizes(experiment: Experiment, limit: int) -> Iterator[BatchCost]:
    """Measure batch sizes 1, 2, 4 ... ``limit`` that fit, on real images of the largest size."""
    single = {'batch_size': 1, 'grad_accum_steps': 1, 'devices': 1, 'nodes': 1, 'compile': False}
    config = experiment.training.model_copy(update=single)
    experiment = experiment.model_copy(update={'training': config})
    state = TrainState(make_fabric(config), experiment)
    state.model.train()
    device, dataset = state.fabric.device, state.dataset
    size = max(input_sizes(state.plan.num_steps, experiment), key=math.prod)
    batch_size, memory_before = 1, _peak_memory(device)
    while batch_size <= limit:
        keys = [(0, index % len(dataset), size) for index in range(batch_size)]
        batch = collate(dataset.__getitems__(keys))
        if not isinstance(batch, Batch):
            raise batch
        try:
            measured = _measure(state, batch)
        except torch.OutOfMemoryError:
            return
        yield measured
        needed = 2 * (measured.memory - memory_before)  # by the next size, at most
        if device.type == 'cpu':
            free = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_AVPHYS_PAGES')
            if measured.memory + needed > free + _peak_memory(device):
                return
        batch_size *= 2


def suggest_batch_size(measured: list[BatchCost]) -> int:
    """Choose the smallest batch size that is nearly as fast as the fastest; 0 if none fits."""
    best = max((cost.images_per_second for cost in measured), default=0.0)
    return next(
        (cost.batch_size for cost in measured if cost.images_per_second >= NEARLY * best), 0
    )


def _measure(state: TrainState, batch: Batch) -> BatchCost:
    device = state.fabric.device
    if device.type == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)

    def step() -> None:
        state.optimizer.zero_grad(set_to_none=True)
        forward_backward(state, [batch])
        state.optimizer.step()

    step()
    start = _synchronized_time(device)
    for _ in range(TIMED_STEPS):
        step()
    seconds = _synchronized_time(device) - start
    num_images = TIMED_STEPS * len(batch.names)
    return BatchCost(len(batch.names), num_images / seconds, _peak_memory(device))


def _synchronized_time(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> int:
    if device.type == 'cuda':
        return int(torch.cuda.max_memory_allocated(device))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
