"""Save and load checkpoints: everything that a run needs to continue, written atomically."""

from collections.abc import Mapping
from dataclasses import dataclass, field
import hashlib
from pathlib import Path
import textwrap
from typing import Any

from mnssd_perception.errors import SpecError
from mnssd_perception.files import explain_write_error, write_atomically
from mnssd_perception.serialization import from_plain, to_plain
from mnssd_perception.ssd import ModelSpec, prior_digest
from mnssd_perception.text import sanitize_text
from mnssd_training.config import Experiment, ModelConfig, read_stored, rename_keys
from mnssd_training.data.remote import is_remote, read_url
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.torch_file import dump_torch, load_torch
from pydantic import ValidationError
import torch

SCHEMA = 2


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run."""

    spec: ModelSpec
    model_config: ModelConfig  # how to build the network, beside the specification
    experiment: dict[str, Any]  # as plain data
    weights: dict[str, torch.Tensor]  # moving average, to evaluate and export
    training: dict[str, Any] | None  # raw weights, optimizer, counters; None in best.pt
    step: int  # finished steps
    metrics: dict[str, Any]  # of the last evaluation
    # What the weights come from besides the images: digests of `teachers`, or of those `averaged`.
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def build(self) -> MobileNetSsd:
        """Build the network with the averaged weights, in evaluation mode."""
        model = build_model(self.spec, self.model_config)
        try:
            model.load_state_dict(self.weights)
        except (RuntimeError, TypeError) as error:
            reason = textwrap.shorten(str(error), 200)
            raise CheckpointError(f'the weights do not fit the specification: {reason}') from error
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; after a CheckpointError the old file is unchanged."""
    content = {
        'schema': SCHEMA,
        'spec': to_plain(checkpoint.spec),
        'prior_digest': prior_digest(checkpoint.spec),
        'model_config': checkpoint.model_config.model_dump(mode='json'),
        'experiment': checkpoint.experiment,
        'weights': checkpoint.weights,
        'training': checkpoint.training,
        'step': checkpoint.step,
        'metrics': checkpoint.metrics,
        'sources': {key: list(names) for key, names in checkpoint.sources.items()},
    }
    encoded = dump_torch(content)
    try:
        write_atomically(path, encoded)
    except OSError as error:
        reason = explain_write_error(error, path, len(encoded))
        raise CheckpointError(
            f'{path}: cannot be written: {reason}; earlier checkpoints are intact: '
            f'fix the cause, then continue with --resume'
        ) from error


def load_checkpoint(source: Path | str) -> Checkpoint:
    """
    Read a checkpoint.

    :param source: a file, or a URL that fsspec opens, such as ``s3://bucket/run/best.pt``.
    :raises DamagedCheckpointError: if its bytes are not those that were written.
    :raises CheckpointError: if it cannot be read now, or is not a checkpoint of this version.
    """

    def error_of(reason: str) -> CheckpointError:
        return CheckpointError(f'{source}: {reason}')

    try:
        encoded = read_url(str(source)) if is_remote(str(source)) else Path(source).read_bytes()
    except FileNotFoundError as error:
        raise error_of('no such checkpoint') from error
    except DatasetError as error:  # names the URL and why it cannot be read
        raise CheckpointError(str(error)) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, 'strerror', None) or str(error)
        raise error_of(
            f'cannot be read: {reason}; nothing was changed: check the disk, '
            f'the network and the permissions, then try again'
        ) from error
    content = load_torch(encoded, source)
    schema = content.get('schema') if isinstance(content, dict) else None
    if schema is None:
        raise error_of(f'expected a checkpoint of schema {SCHEMA}, got other content')
    if schema != SCHEMA:
        raise error_of(
            f'expected a checkpoint of schema {SCHEMA}, got {sanitize_text(schema)}; '
            f'use the version of mnssd that wrote it'
        )
    try:
        spec = from_plain(ModelSpec, content['spec'], error_of)
        if prior_digest(spec) != content['prior_digest']:
            raise error_of('its priors differ from those that this version of mnssd computes')
        return Checkpoint(
            spec=spec,
            model_config=ModelConfig.model_validate(
                rename_keys({'model': content['model_config']})['model']
            ),
            experiment=rename_keys(content['experiment']),
            weights=content['weights'],
            training=content['training'],
            step=content['step'],
            metrics=content['metrics'],
            sources={key: tuple(names) for key, names in content.get('sources', {}).items()},
        )
    except KeyError as error:
        raise error_of(f'missing key {error}') from error
    except ValidationError as error:
        first = error.errors()[0]
        key = '.'.join(map(str, ('model_config', *first['loc'])))
        raise error_of(f'{key}: {first["msg"]}') from error
    except SpecError as error:
        raise error_of(str(error)) from error


def read_experiment(checkpoint: Checkpoint, name: str) -> Experiment:
    """
    Read the experiment that a checkpoint stores.

    :raises CheckpointError: naming the checkpoint by ``name``, if this version cannot read it.
    """
    try:
        return read_stored(checkpoint.experiment)
    except (TypeError, ValueError) as error:
        reason = textwrap.shorten(str(error), 200)
        raise CheckpointError(
            f'{name}: this version of mnssd cannot read its experiment: {reason}'
        ) from error


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Compute the digest ``sha256:...`` of the tensors of a state dict, whatever file holds it."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f'{key} {value.dtype} {tuple(value.shape)}\n'.encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return f'sha256:{digest.hexdigest()}'
