"""Load the weights that a run starts from: a checkpoint or an exported bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
import os

from mnssd_perception.bundle import Bundle, open_bundle
from mnssd_perception.engines import open_engine
from mnssd_perception.errors import EngineError, MnssdError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import mask_secrets
from mnssd_training.config import ModelConfig, rename_keys
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model, MobileNetSsd, TorchEngine
from mnssd_training.model.onnx_weights import recover_weights
from mnssd_training.train.checkpoint import load_checkpoint
import numpy as np
from pydantic import ValidationError
import torch
from torch import nn

ENGINE = 'onnxruntime'
TOLERANCE = 1e-3  # of raw heads; ONNX Runtime and PyTorch differ by about 1e-5


@dataclass(frozen=True)
class InitialWeights:
    """State dict of a trained network; if unfolded, its batch norms lack running statistics."""

    spec: ModelSpec
    weights: dict[str, torch.Tensor]
    is_unfolded: bool


def read_initial_weights(source: str) -> InitialWeights:
    """Read the averaged weights of a checkpoint (path or URL) or of a bundle (path)."""
    if not _is_bundle(source):
        checkpoint = load_checkpoint(source)
        return InitialWeights(checkpoint.spec, checkpoint.weights, is_unfolded=False)
    model = recover_model(source)
    return InitialWeights(model.spec, model.state_dict(), is_unfolded=True)


def load_network(source: str) -> MobileNetSsd:
    """
    Load the network of a checkpoint (path or URL) or of a bundle (path), in evaluation mode.

    :raises CheckpointError: naming it, if it cannot be read or is damaged.
    """
    return recover_model(source) if _is_bundle(source) else load_checkpoint(source).build()


def recover_model(path: str) -> MobileNetSsd:
    """
    Recover the network that a bundle was exported from, in evaluation mode, on the CPU.

    Its batch norms lack running statistics: it computes the same, but cannot be trained further.

    :raises CheckpointError: naming the bundle, if it is damaged, has no fp32 network, or another
        one than its manifest describes.
    """
    try:
        return _recover(open_bundle(path))
    except (CheckpointError, EngineError) as error:
        raise CheckpointError(f'{path}: {error}') from error
    except MnssdError as error:  # of the bundle, which names the file
        raise CheckpointError(str(error)) from error


def load_initial_weights(
    model: MobileNetSsd, source: str, initial: InitialWeights
) -> tuple[str, float]:
    """
    Load initial weights where their shapes match.

    :return: a summary for the user, and the share of the weights that match, 0 to 1.
    :raises CheckpointError: if no layer matches.
    """
    new_layers, share = load_matching_layers(model, initial.weights)
    if not share:
        raise CheckpointError(f'{source}: its network has no layer in common with this one')
    summary = f'{source}: loaded {share:.0%} of the weights'
    if new_layers:
        summary += f'; {len(new_layers)} layers start from scratch, such as {new_layers[0]}'
    if initial.spec.class_names != model.spec.class_names:
        summary += f'; its classes differ: {", ".join(initial.spec.class_names)}'
    if initial.spec.feature_maps != model.spec.feature_maps:
        summary += '; its priors differ, so box regression is learnt anew'
    return mask_secrets(summary), share


def load_matching_layers(
    model: nn.Module, weights: Mapping[str, torch.Tensor]
) -> tuple[list[str], float]:
    """
    Load the layers whose tensors all have the same shape in a state dict, in place.

    A layer is loaded entirely or not at all: where classes or priors differ, so does the
    prediction layer, and its weights and biases keep their initial values together.

    :return: the layers that keep their initial weights, and the share of the numbers in the state
        dict of the network that is loaded, 0 to 1.
    """
    loaded: dict[str, torch.Tensor] = {}
    new_layers = []
    for name, layer in model.named_modules():
        prefix = f'{name}.' if name else ''
        tensors = layer.state_dict(prefix=prefix, keep_vars=True)
        keys = [key for key in tensors if '.' not in key.removeprefix(prefix)]
        values = [weights.get(key) for key in keys]
        if all(
            isinstance(value, torch.Tensor) and value.shape == tensors[key].shape
            for key, value in zip(keys, values)
        ):
            loaded |= dict(zip(keys, values))
        else:
            new_layers.append(name)
    model.load_state_dict(loaded, strict=False)
    total = sum(value.numel() for value in model.state_dict().values())
    return new_layers, sum(value.numel() for value in loaded.values()) / total


def _is_bundle(source: str) -> bool:
    # pathlib raises for a path that may not be looked at
    return source.endswith('.mnssd') or os.path.isdir(source)  # noqa: PTH112


def _recover(bundle: Bundle) -> MobileNetSsd:
    """Recover the weights of the exported network, and compare its output with theirs."""
    artefact = bundle.artefact(ENGINE, 'fp32')
    if artefact is None:
        raise CheckpointError(f'expected a bundle with a network for {ENGINE} in fp32')
    try:
        experiment = rename_keys(bundle.manifest.provenance.experiment)
        config = ModelConfig.model_validate(experiment.get('model'))
    except ValidationError as error:
        raise CheckpointError(
            'the manifest lacks a valid network configuration (provenance.experiment.model)'
        ) from error
    model = build_model(bundle.manifest.spec, config)
    image = np.random.default_rng(0).integers(0, 256, (*model.spec.input_size, 3), np.uint8)
    # First: it checks the file before anybody parses it.
    engine = open_engine(bundle, ENGINE, precision='fp32')
    try:
        model.load_state_dict(recover_weights(model, bundle.read(artefact.path)))
        expected, received = engine.infer(image), TorchEngine(model).infer(image)
    finally:
        engine.close()
    difference = max(
        float(np.abs(expected.logits - received.logits).max()),
        float(np.abs(expected.offsets - received.offsets).max()),
    )
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f'expected raw heads within {TOLERANCE} of those of the bundle, '
            f'got a difference of {difference:.3g}; use the checkpoint that it was exported from'
        )
    return model
