"""Choose the devices of a run with Lightning Fabric, and coordinate its processes."""

from collections.abc import Callable
import logging
import os
import textwrap
from typing import TypeVar
import warnings

from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from mnssd_perception.errors import MnssdError
from mnssd_training.config import TrainingConfig
from mnssd_training.errors import ConfigError
import torch

T = TypeVar('T')
# Fabric repeats on stderr what the run summary says.
logging.getLogger('lightning_fabric').setLevel(logging.WARNING)


def make_fabric(config: TrainingConfig) -> Fabric:
    """Open the configured devices, under ``torchrun`` its own, and join the other processes."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    uses_gpu = config.accelerator == 'gpu' or (config.accelerator == 'auto' and num_gpus > 0)
    devices: int | str = config.devices or 'auto'
    nodes = config.nodes
    if TorchElasticEnvironment.detect():
        devices = int(os.environ['LOCAL_WORLD_SIZE'])
        nodes = int(os.environ['WORLD_SIZE']) // devices
    elif config.devices == 0 and not uses_gpu:
        devices = 1
    if config.deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic
    is_distributed = (
        nodes > 1 or devices not in ('auto', 1) or (devices == 'auto' and num_gpus > 1)
    )
    # BatchNorm keeps its buffers equal on all ranks, so DDP need not broadcast them.
    ddp = DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
    precision: Precision = Precision()
    if config.precision != 'fp32':
        # Chosen by class: given the name fp16 on a CPU, Fabric would silently use bf16.
        name = 'bf16-mixed' if config.precision == 'bf16' else '16-mixed'
        precision = MixedPrecision(name, 'cuda' if uses_gpu else 'cpu')
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*GPU available.*|.*srun.*')
            fabric = Fabric(
                accelerator=config.accelerator,
                strategy=ddp if is_distributed else 'auto',
                devices=devices,
                num_nodes=nodes,
                plugins=precision,
            )
            fabric.launch()
    except (RuntimeError, ValueError) as error:  # no such device, too few, or a port in use
        raise ConfigError(
            f'training.accelerator={config.accelerator} and training.devices={config.devices}: '
            f'{textwrap.shorten(str(error), 300)}'
        ) from error
    return fabric


def is_rank_zero() -> bool:
    """Tell whether this process is the one that prints and writes."""
    return not rank_zero_only.rank


def run_on_rank_zero(fabric: Fabric, work: Callable[[], T]) -> T:
    """Call a function on rank 0 and broadcast its result, or the :class:`MnssdError` it raises."""
    result: T | MnssdError | None = None
    if fabric.is_global_zero:
        try:
            result = work()
        except MnssdError as error:
            result = error
    result = fabric.broadcast(result)
    if isinstance(result, MnssdError):
        raise result
    return result


def all_gather_objects(fabric: Fabric, value: T) -> list[T]:
    """Gather one value from each rank, in the order of the ranks, on all ranks."""
    values: list[T] = [value] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def raise_on_all_ranks(fabric: Fabric, error: MnssdError | None) -> None:
    """Raise the error of the lowest rank that has one on all ranks, so that none waits."""
    if fabric.world_size > 1:
        has_error = torch.tensor(float(error is not None), device=fabric.device)
        if not fabric.all_reduce(has_error, reduce_op='sum'):
            return  # the usual case costs one number, not a gather of pickles
        error = next(filter(None, all_gather_objects(fabric, error)))
    if error:
        raise error


def destroy_process_group() -> None:
    """Leave the process group at the end of a run, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
