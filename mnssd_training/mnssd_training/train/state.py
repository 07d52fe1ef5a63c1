"""The parts of a run on their devices: set up, packed into a checkpoint, and restored from it."""

from dataclasses import dataclass
import textwrap
from typing import Any
import warnings

from lightning_fabric import Fabric
from mnssd_training.config import Experiment, read_stored, to_stored
from mnssd_training.config.fingerprint import relevant_keys
from mnssd_training.errors import CheckpointError
from mnssd_training.model import check_grids, MobileNetSsd
from mnssd_training.priors import resize_spec
from mnssd_training.train.batches import Plan, plan
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.ema import Ema
from mnssd_training.train.optimizer import make_optimizer
from mnssd_training.train.prepare import prepare, Prepared
from mnssd_training.train.progress import Progress
from mnssd_training.train.run import Found
from mnssd_training.train.sizes import input_sizes
from pydantic import ValidationError
import torch
from torch import nn


@dataclass(frozen=True)
class State:
    """
    The parts of a run, on their devices.

    :ivar fabric: the devices, with the scaler of fp16.
    :ivar experiment: what is trained.
    :ivar prepared: images, specification, loss.
    :ivar plan: how the images are dealt out.
    :ivar network: the network itself.
    :ivar model: the network as it is called in training: compiled, spread over devices.
    :ivar ema: moving average of the network.
    :ivar optimizer: with its moments.
    """

    fabric: Fabric
    experiment: Experiment
    prepared: Prepared
    plan: Plan
    network: MobileNetSsd
    model: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer

    def pack(self, progress: Progress, metrics: dict[str, Any]) -> Checkpoint:
        """
        Collect what a checkpoint holds.

        :param progress: how far the run is.
        :param metrics: of the last evaluation.
        :return: the checkpoint; its tensors are those of the run: write it before the next step.
        """
        training = {
            'model': self.network.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.fabric.strategy.precision.state_dict(),
            'progress': progress.to_plain(),
            'num_samples': self.plan.num_samples,
            'num_threads': torch.get_num_threads(),
        }
        return Checkpoint(
            self.prepared.spec,
            self.experiment.model,
            to_stored(self.experiment),
            self.ema.model.state_dict(),
            training,
            progress.step,
            metrics,
        )

    def restore(self, found: Found) -> Progress:
        """
        Go on from a checkpoint.

        :param found: a checkpoint of the same experiment.
        :return: how far the run is.
        :raises CheckpointError: if it is of another experiment, or damaged.
        """
        training, name = found.checkpoint.training, found.name
        if training is None:
            raise CheckpointError(
                f'{name}: holds weights only, nothing to resume from; '
                f'start a new run with initial.checkpoint={name}'
            )
        self._check(found.checkpoint, name)
        try:
            before, now = training['num_samples'], self.plan.num_samples
            if before != now:
                raise CheckpointError(
                    f'{name}: was made with {before} training images, now there are {now}; '
                    f'choose another folder'
                )
            self.network.load_state_dict(training['model'])
            self.ema.model.load_state_dict(found.checkpoint.weights)
            self.optimizer.load_state_dict(training['optimizer'])
            self.fabric.strategy.precision.load_state_dict(training['scaler'])
            return Progress.from_plain(training['progress'])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            words = textwrap.shorten(str(error), 200)
            raise CheckpointError(
                f'{name}: its state does not fit this network: {words}'
            ) from error

    def _check(self, checkpoint: Checkpoint, name: object) -> None:
        """Refuse a checkpoint of another experiment."""
        try:
            before = relevant_keys(read_stored(checkpoint.experiment))
        except ValidationError as error:
            words = textwrap.shorten(str(error), 200)
            raise CheckpointError(
                f'{name}: its experiment is none of this version of mnssd: {words}'
            ) from error
        differences = _differences(before, relevant_keys(self.experiment))
        if differences:
            raise CheckpointError(
                f'{name}: belongs to another experiment: {"; ".join(differences)}; '
                f'choose another folder, or start with initial.checkpoint={name}'
            )
        if checkpoint.spec != self.prepared.spec:
            raise CheckpointError(
                f'{name}: classes or priors are others than those of the dataset now; '
                f'it was changed; choose another folder'
            )


def set_up(fabric: Fabric, experiment: Experiment) -> State:
    """
    Read the images, build the network and bring it to its devices.

    :param fabric: the devices.
    :param experiment: what to train on what.
    :return: the parts of a run at its beginning; the same in all processes.
    :raises MnssdError: naming the file or the key that is wrong.
    """
    config = experiment.training
    prepared = prepare(experiment)
    deal = plan(experiment, len(prepared.splits.train), fabric.world_size)
    for size in input_sizes(deal.total, experiment):
        if size != prepared.spec.input_size:
            check_grids(prepared.model, resize_spec(prepared.spec, size))
    network: MobileNetSsd = fabric.to_device(prepared.model)
    ema = Ema(network, config.ema_decay, config.ema_warmup)
    called = torch.compile(network) if config.compile else network
    with warnings.catch_warnings():  # its new name is not in all versions of torch
        warnings.filterwarnings('ignore', '.*broadcast_buffers')
        model, optimizer = fabric.setup(called, make_optimizer(network, experiment))
    return State(fabric, experiment, prepared, deal, network, model, ema, optimizer)


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = '') -> list[str]:
    """List the keys that differ, with both values."""
    found = []
    for key in sorted({*before, *now}):
        one, other = before.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f'{prefix}{key}.')
        elif one != other:
            found.append(f'{prefix}{key} was {one}, now is {other}')
    return found
