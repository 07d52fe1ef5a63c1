"""Everything a run needs to go on, in one file that is never half written."""

from dataclasses import dataclass
import os
from pathlib import Path
import textwrap
from typing import Any

from mnssd_perception.errors import SpecError
from mnssd_perception.plain import from_plain, to_plain
from mnssd_perception.ssd import ModelSpec, prior_digest
from mnssd_training.errors import CheckpointError, ConfigError
from mnssd_training.model import build_model, MobileNetSsd, ModelConfig
import torch

__all__ = ['Checkpoint', 'load_checkpoint', 'save_checkpoint']

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """
    A moment of a run.

    :ivar spec: what goes in and comes out of the network.
    :ivar model_config: what the specification does not tell of it.
    :ivar experiment: the experiment as plain data.
    :ivar weights: averaged weights, to be scored and exported.
    :ivar training: raw weights, optimizer and counters, to go on; None in a best checkpoint.
    :ivar step: steps done.
    :ivar metrics: of the last evaluation.
    """

    spec: ModelSpec
    model_config: ModelConfig
    experiment: dict[str, Any]
    weights: dict[str, torch.Tensor]
    training: dict[str, Any] | None
    step: int
    metrics: dict[str, Any]

    def build(self) -> MobileNetSsd:
        """
        Build the network with the averaged weights, in evaluation mode.

        :raises CheckpointError: if the weights do not fit the specification.
        """
        model = build_model(self.spec, self.model_config)
        try:
            model.load_state_dict(self.weights)
        except (RuntimeError, TypeError) as error:
            words = textwrap.shorten(str(error), 200)
            raise CheckpointError(f'the weights do not fit the specification: {words}') from error
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """
    Write a checkpoint beside its place, then move it there.

    :param path: the file.
    :param checkpoint: what to write.
    :raises CheckpointError: if the disk is full or the folder cannot be written; the old file
        stays as it was.
    """
    content = {
        'schema': SCHEMA,
        'spec': checkpoint.spec.to_dict(),
        'prior_digest': prior_digest(checkpoint.spec),
        'model_config': to_plain(checkpoint.model_config),
        'experiment': checkpoint.experiment,
        'weights': checkpoint.weights,
        'training': checkpoint.training,
        'step': checkpoint.step,
        'metrics': checkpoint.metrics,
    }
    temporary = path.with_name(f'{path.name}.partial')
    try:
        with temporary.open('wb') as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f'{path}: cannot be written: {error}') from error


def load_checkpoint(path: Path) -> Checkpoint:
    """
    Read a checkpoint.

    :param path: the file.
    :return: what was written.
    :raises CheckpointError: naming the file and what is wrong with it.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f'{path}: no such checkpoint') from error
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise CheckpointError(f'{path}: not a checkpoint, or cut short') from error
    if not isinstance(content, dict) or content.get('schema') != SCHEMA:
        raise CheckpointError(f'{path}: expected a checkpoint of schema {SCHEMA}')

    def wrong(reason: str) -> CheckpointError:
        return CheckpointError(f'{path}: {reason}')

    try:
        spec = from_plain(ModelSpec, content['spec'], wrong)
        if prior_digest(spec) != content['prior_digest']:
            raise wrong('its priors are not those that this version of mnssd computes')
        return Checkpoint(
            spec=spec,
            model_config=from_plain(ModelConfig, content['model_config'], wrong),
            experiment=content['experiment'],
            weights=content['weights'],
            training=content['training'],
            step=content['step'],
            metrics=content['metrics'],
        )
    except KeyError as error:
        raise wrong(f'missing key {error}') from error
    except (ConfigError, SpecError) as error:
        raise wrong(str(error)) from error
