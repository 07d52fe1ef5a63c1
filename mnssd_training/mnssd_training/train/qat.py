"""Quantisation-aware training: what the loop and the state of a run do differently."""

from collections.abc import Mapping

from mnssd_training.config import Experiment
from mnssd_training.model import MobileNetSsd
from mnssd_training.model.fake_quantization import add_fake_quantization, find_quantizers
from mnssd_training.model.norm import is_norm
import torch


def prepare_qat(network: MobileNetSsd, experiment: Experiment) -> None:
    """Make a network compute as in INT8, if the experiment says so."""
    if experiment.qat.enabled:
        add_fake_quantization(network, experiment.qat.weight_bits, experiment.qat.averaging)


def freeze_norms(network: MobileNetSsd, experiment: Experiment, epoch: int) -> None:
    """Freeze the statistics of a network in training mode, from the configured epoch on."""
    config = experiment.qat
    if config.enabled and epoch >= config.frozen_norm_from * experiment.training.epochs:
        for module in network.modules():
            if is_norm(module):
                module.eval()


def read_ranges(network: MobileNetSsd) -> dict[str, torch.Tensor]:
    """Read the ranges of activations by layer, to continue with them; none without QAT."""
    return {name: layer.bounds for name, layer in find_quantizers(network).items()}


def restore_ranges(network: MobileNetSsd, ranges: Mapping[str, torch.Tensor]) -> None:
    """
    Restore the ranges that :func:`read_ranges` returned, in place.

    :raises ValueError: if they are those of another network.
    """
    quantizers = find_quantizers(network)
    if quantizers.keys() != ranges.keys():
        raise ValueError(
            f'expected ranges of {len(quantizers)} quantized activations, got {len(ranges)}'
        )
    for name, quantizer in quantizers.items():
        quantizer.bounds.copy_(ranges[name])
