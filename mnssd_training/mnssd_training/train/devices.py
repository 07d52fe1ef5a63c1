"""An experiment to the devices that it runs on."""

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
# Fabric says on stderr what the run says itself.
logging.getLogger('lightning_fabric').setLevel(logging.WARNING)


def make_fabric(config: TrainingConfig) -> Fabric:
    """
    Take the devices that an experiment asks for, and join the other processes.

    Under ``torchrun`` its processes are the devices, however many it has started this time.

    :param config: accelerator, devices, nodes, precision and determinism.
    :return: the devices.
    :raises ConfigError: if they are not there.
    """
    devices: int | str = config.devices or 'auto'
    nodes = config.nodes
    if TorchElasticEnvironment.detect():
        devices = int(os.environ['LOCAL_WORLD_SIZE'])
        nodes = int(os.environ['WORLD_SIZE']) // devices
    elif config.devices == 0 and not _has_gpu(config):
        devices = 1
    if config.deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic
    is_many = nodes > 1 or devices not in ('auto', 1) or (devices == 'auto' and _num_gpus() > 1)
    # Normalisation keeps its statistics equal by itself, so there is nothing to send around.
    strategy = (
        DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True) if is_many else 'auto'
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*GPU available.*|.*srun.*')
            fabric = Fabric(
                accelerator=config.accelerator,
                strategy=strategy,
                devices=devices,
                num_nodes=nodes,
                plugins=_precision(config, 'cuda' if _has_gpu(config) else 'cpu'),
            )
            fabric.launch()
    except (RuntimeError, ValueError) as error:  # no such device, too few, or a port in use
        raise ConfigError(
            f'training.accelerator={config.accelerator} and training.devices={config.devices}: '
            f'{textwrap.shorten(str(error), 300)}'
        ) from error
    return fabric


def is_rank_zero() -> bool:
    """Tell whether this process is the one of a run that prints and writes."""
    return not rank_zero_only.rank


def run_on_rank_zero(fabric: Fabric, work: Callable[[], T]) -> T:
    """
    Do something in the first process and tell all.

    :param fabric: the processes.
    :param work: what only one of them may do; an :class:`MnssdError` of it is raised in all.
    :return: what it returned.
    """
    outcome: T | MnssdError | None = None
    if fabric.is_global_zero:
        try:
            outcome = work()
        except MnssdError as error:
            outcome = error
    outcome = fabric.broadcast(outcome)
    if isinstance(outcome, MnssdError):
        raise outcome
    return outcome


def raise_on_all_ranks(fabric: Fabric, error: MnssdError | None) -> None:
    """
    Raise what one process met in all of them, so that none waits for another.

    :param fabric: the processes; all come here.
    :param error: what this one met.
    :raises MnssdError: the error of the first process that has one.
    """
    if fabric.world_size > 1:
        met = torch.tensor(float(error is not None), device=fabric.device)
        if not fabric.all_reduce(met, reduce_op='sum'):
            return
        errors: list[MnssdError | None] = [None] * fabric.world_size
        torch.distributed.all_gather_object(errors, error)
        error = next(one for one in errors if one)
    if error:
        raise error


def release() -> None:
    """Part from the other processes at the end, if there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _precision(config: TrainingConfig, device: str) -> Precision:
    """Choose what convolutions compute in; by name, Fabric would take bf16 for fp16 on a CPU."""
    if config.precision == 'fp32':
        return Precision()
    return MixedPrecision('bf16-mixed' if config.precision == 'bf16' else '16-mixed', device)


def _has_gpu(config: TrainingConfig) -> bool:
    """Tell whether the run goes to GPUs."""
    return config.accelerator == 'gpu' or (config.accelerator == 'auto' and _num_gpus() > 0)


def _num_gpus() -> int:
    """Count the GPUs, on a machine with and without CUDA."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
