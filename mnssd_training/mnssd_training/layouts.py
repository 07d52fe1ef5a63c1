"""An experiment and its training boxes to the specification of its network."""

from collections.abc import Sequence

from mnssd_perception.ssd import (
    FeatureMap,
    finetune_feature_maps,
    ModelSpec,
    original_feature_maps,
    ssdlite_feature_maps,
)
from mnssd_training.config import Experiment, InputConfig, PriorsConfig
from mnssd_training.data.sample import Sample
from mnssd_training.priors import clustered_feature_maps, network_sizes
import numpy as np
from numpy.typing import NDArray

PUBLISHED = {
    'original': original_feature_maps,
    'finetune': finetune_feature_maps,
    'ssdlite': ssdlite_feature_maps,
}


def spec_of(
    experiment: Experiment, samples: Sequence[Sample], class_names: Sequence[str]
) -> ModelSpec:
    """
    Make the specification of the network that an experiment asks for.

    :param experiment: what to train.
    :param samples: the training set, whose boxes give the priors.
    :param class_names: in the order of their labels.
    :return: the specification.
    """
    size = experiment.input
    boxes = network_sizes(samples, size.size, size.resize)
    levels = levels_of(experiment.priors, size, boxes, experiment.training.seed)
    variances = experiment.priors.variances
    return ModelSpec(size.size, tuple(class_names), levels, size.resize, variances=variances)


def levels_of(
    priors: PriorsConfig, size: InputConfig, boxes: NDArray[np.float64], seed: int
) -> tuple[FeatureMap, ...]:
    """
    Lay out priors.

    :param priors: how.
    :param size: of the network input.
    :param boxes: ``(N, 2)`` (width, height) of the training boxes, pixels of the input.
    :param seed: of the first guess of clusters.
    :return: the levels.
    """
    if priors.layout == 'clustered':
        return clustered_feature_maps(
            boxes, size.size, priors.strides, priors.priors_per_cell, seed
        )
    return PUBLISHED[priors.layout](size.size)
