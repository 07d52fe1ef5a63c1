"""Fine-tuning: loading the layers of another network that fit."""

from dataclasses import replace

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model
from mnssd_training.model.weights import load_matching_layers, LoadResult
import pytest
import torch


def test_weights_without_a_common_layer_are_refused(spec: ModelSpec) -> None:
    network = build_model(spec, ModelConfig(pyramid_channels=8))
    for weights in ({}, {'a': torch.zeros(3)}, {'logits.levels.0.1.weight': torch.zeros(3)}):
        with pytest.raises(CheckpointError, match='no layer in common'):
            load_matching_layers(network, weights)


def test_the_same_network_is_loaded_entirely(spec: ModelSpec) -> None:
    one, other = (build_model(spec, ModelConfig(pyramid_channels=8)) for _ in range(2))
    assert load_matching_layers(one, other.state_dict()) == LoadResult((), 1.0)
    expected = other.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in one.state_dict().items())


def test_layers_of_other_shapes_keep_their_initial_weights(spec: ModelSpec) -> None:
    # One class more, other priors on the second level, and a fourth level.
    levels = (
        spec.feature_maps[0],
        feature_map(spec.input_size, 16, ((9.0, 9.0),) * 2),
        spec.feature_maps[2],
        feature_map(spec.input_size, 64, ((90.0, 90.0),)),
    )
    more = replace(spec, class_names=(*spec.class_names, 'Boat'), feature_maps=levels)
    network = build_model(more, ModelConfig(pyramid_channels=8))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    weights = build_model(spec, ModelConfig(pyramid_channels=8)).state_dict()
    weights = {
        key: value + 1 if value.is_floating_point() else value for key, value in weights.items()
    }
    result = load_matching_layers(network, weights)
    new_layers = result.new_layers
    parts = ('depthwise', 'depthwise_norm', 'pointwise', 'pointwise_norm')
    last = [f'{head}.levels.3.0.{part}' for head in ('logits', 'offsets') for part in parts]
    extra = [f'pyramid.extra.0.{part}' for part in parts]
    predictions = [f'logits.levels.{i}.1' for i in range(4)]
    predictions += ['offsets.levels.1.1', 'offsets.levels.3.1']
    assert sorted(new_layers) == sorted([*extra, *last, *predictions])
    for key, value in network.state_dict().items():
        expected = before if key.rpartition('.')[0] in new_layers else weights
        assert torch.equal(value, expected[key]), key
    state = network.state_dict()
    loaded = sum(
        value.numel() for key, value in state.items() if key.rpartition('.')[0] not in new_layers
    )
    assert result.loaded_fraction == loaded / sum(value.numel() for value in state.values())
