"""
Average the weights of several runs.

Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy
without increasing inference time, ICML 2022 (uniform soup). The networks must descend from the
same initial weights: of networks that were initialised at random with different seeds, the average
is worth nothing. The activations of an average vary less than those of its parts, so its batch
norms get new statistics (Jordan et al., REPAIR, ICLR 2023).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

from mnssd_training.errors import CheckpointError
from mnssd_training.model.norm import recalibrate_batch_norms
from mnssd_training.train.checkpoint import Checkpoint, weights_digest
import torch


def average_checkpoints(
    checkpoints: Mapping[str, Checkpoint], batches: Iterable[torch.Tensor]
) -> Checkpoint:
    """
    Average the averaged weights of checkpoints of one architecture.

    :param checkpoints: by name; the result has the experiment of the first.
    :param batches: training images, ``(B, H, W, 3)`` uint8, for the batch norms; frozen ones keep
        the average of their statistics.
    :return: a checkpoint to evaluate, export or fine-tune, but not to resume; its ``sources`` are
        names and digests.
    :raises CheckpointError: naming the checkpoint that differs from the first, and in what.
    """
    if len(checkpoints) < 2:
        raise CheckpointError(f'expected at least two checkpoints, got {len(checkpoints)}')
    (first_name, first), *others = checkpoints.items()
    for name, other in others:
        if differences := _differences(first, other):
            raise CheckpointError(
                f'{name}: expected the network of {first_name}: {"; ".join(differences)}'
            )
    models = [checkpoint.build() for checkpoint in checkpoints.values()]
    weights = average_weights([model.state_dict() for model in models])
    models[0].load_state_dict(weights)
    recalibrate_batch_norms(models[0], batches, with_frozen=False)
    digests = (f'{name} {weights_digest(c.weights)}' for name, c in checkpoints.items())
    return replace(
        first,
        weights=models[0].state_dict(),
        training=None,
        metrics={},
        sources={'averaged': tuple(digests)},
    )


def average_weights(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Average state dicts of equal shapes; integers, which count batches, are of the first."""
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for key, value in states[0].items()
    }


def _differences(one: Checkpoint, other: Checkpoint) -> list[str]:
    """List the parts of specification and configuration that differ, with both values."""
    pairs = {
        field.name: (getattr(one.spec, field.name), getattr(other.spec, field.name))
        for field in fields(one.spec)
    }
    pairs |= {
        f'model.{name}': (value, getattr(other.model_config, name))
        for name, value in one.model_config
    }
    differences = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    hint = ''
    if differences.pop('feature_maps', None):
        hint = 'its priors differ; train with the same boxes and the same priors.seed'
    texts = [f'{name} is {b}, not {a}' for name, (a, b) in differences.items()]
    return [*texts, hint] if hint else texts
