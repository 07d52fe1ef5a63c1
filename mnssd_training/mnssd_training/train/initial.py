"""A checkpoint or a bundle to the weights that a run begins with."""

from dataclasses import dataclass
import os

from mnssd_perception.bundle import Bundle, open_bundle
from mnssd_perception.engines import open_engine
from mnssd_perception.errors import EngineError, MnssdError
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import ModelConfig, rename_keys
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model, TorchEngine
from mnssd_training.model.onnx_weights import recover_weights
from mnssd_training.train.checkpoint import load_checkpoint
import numpy as np
from pydantic import ValidationError
import torch

ENGINE = 'onnxruntime'
TOLERANCE = 1e-3  # of raw heads; ONNX Runtime and PyTorch differ by about 1e-5


@dataclass(frozen=True)
class InitialWeights:
    """
    What a run begins with.

    :ivar spec: of the network that the weights are of.
    :ivar weights: its state dict.
    :ivar is_unfolded: batch normalisations came folded, and lack the statistics of images.
    """

    spec: ModelSpec
    weights: dict[str, torch.Tensor]
    is_unfolded: bool


def read_initial(source: str) -> InitialWeights:
    """
    Read the weights that a run begins with.

    :param source: path or URL of a checkpoint, or path of a bundle.
    :return: the weights.
    :raises CheckpointError: naming the file and what is wrong with it.
    """
    # pathlib raises for a path that may not be looked at
    if not (source.endswith('.mnssd') or os.path.isdir(source)):  # noqa: PTH112
        checkpoint = load_checkpoint(source)
        return InitialWeights(checkpoint.spec, checkpoint.weights, is_unfolded=False)
    try:
        bundle = open_bundle(source)
        return InitialWeights(bundle.manifest.spec, _recover(bundle), is_unfolded=True)
    except (CheckpointError, EngineError) as error:
        raise CheckpointError(f'{source}: {error}') from error
    except MnssdError as error:  # of the bundle, which names the file
        raise CheckpointError(str(error)) from error


def _recover(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Recover the weights of the network in a bundle, and check that they are."""
    artefact = bundle.artefact(ENGINE)
    if artefact is None or artefact.precision != 'fp32':
        raise CheckpointError(f'expected a bundle with a network for {ENGINE} in fp32')
    try:
        experiment = rename_keys(bundle.manifest.provenance.experiment)
        config = ModelConfig.model_validate(experiment.get('model'))
    except ValidationError as error:
        raise CheckpointError(
            'the manifest does not tell what the network is made of (provenance.experiment.model)'
        ) from error
    model = build_model(bundle.manifest.spec, config)
    image = np.random.default_rng(0).integers(0, 256, (*model.spec.input_size, 3), np.uint8)
    engine = open_engine(bundle, ENGINE)  # first: it checks the file before anybody parses it
    try:
        weights = recover_weights(model, bundle.read(artefact.path))
        model.load_state_dict(weights)
        wanted, got = engine.infer(image), TorchEngine(model).infer(image)
    finally:
        engine.close()
    differences = [np.abs(wanted.logits - got.logits), np.abs(wanted.offsets - got.offsets)]
    largest = max(float(difference.max()) for difference in differences)
    if not largest <= TOLERANCE:
        raise CheckpointError(
            f'expected raw heads within {TOLERANCE} of those of the bundle, '
            f'got a difference of {largest:.3g}; name the checkpoint that it was made of'
        )
    return weights
