"""The sensitivity of layers of the small network."""

import json

from mnssd_perception.serialization import to_plain
from mnssd_training.errors import ExportError
from mnssd_training.export import (
    LayerSensitivity,
    measure_sensitivity,
    quantize_for_cpu,
    sensitivity_table,
)
from mnssd_training.export.sensitivity import MAX_DB
import numpy as np
from numpy.typing import NDArray
import onnx
from onnx import numpy_helper
import pytest

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope='module')
def measured(
    exported: bytes, files: dict[str, bytes], images: Images
) -> tuple[LayerSensitivity, ...]:
    return measure_sensitivity(exported, files['tensorrt'], images[:1])


def test_every_quantised_layer_is_measured_worst_first(
    measured: tuple[LayerSensitivity, ...], exported: bytes
) -> None:
    nodes = {node.name: node.op_type for node in onnx.load_from_string(exported).graph.node}
    expected = {name for name, operator in nodes.items() if operator in ('Conv', 'Add')}
    found = {layer.layer for layer in measured}
    assert expected <= found
    assert {nodes[name] for name in found - expected} <= {'Resize'}  # between two sums
    assert all(layer.operator == nodes[layer.layer] for layer in measured)
    assert [layer.sqnr_db for layer in measured] == sorted(layer.sqnr_db for layer in measured)
    assert all(0 < layer.sqnr_db <= MAX_DB for layer in measured)
    assert sum(layer.sqnr_db < MAX_DB for layer in measured) > 0.5 * len(measured)


def test_weights_tell_which_module_a_layer_is(measured: tuple[LayerSensitivity, ...]) -> None:
    weights = {layer.weights for layer in measured}
    assert {'backbone.features.0.0', 'logits.levels.0.1'} < weights
    assert all(bool(layer.weights) == (layer.operator == 'Conv') for layer in measured)


def test_a_head_does_not_depend_on_the_layers_of_the_other(
    measured: tuple[LayerSensitivity, ...],
) -> None:
    for layer in measured:
        if layer.weights.startswith('logits.'):
            assert layer.offsets_db == MAX_DB > layer.logits_db
        if layer.weights.startswith('offsets.'):
            assert layer.logits_db == MAX_DB > layer.offsets_db


@pytest.mark.slow
def test_the_layer_with_damaged_scales_is_the_worst(exported: bytes, images: Images) -> None:
    quantized = onnx.load_from_string(quantize_for_cpu(exported, images[:1]))
    layers = measure_sensitivity(exported, quantized.SerializeToString(), images[:1])
    victim = next(layer for layer in layers[20:] if layer.weights)
    for tensor in quantized.graph.initializer:
        if tensor.name == f'model.{victim.weights}.weight_scale':
            scales = numpy_helper.to_array(tensor) / 10
            tensor.CopyFrom(numpy_helper.from_array(scales, tensor.name))
    damaged = measure_sensitivity(exported, quantized.SerializeToString(), images[:1])
    assert damaged[0].layer == victim.layer
    assert damaged[0].sqnr_db < victim.sqnr_db - 10


def test_it_becomes_a_table_and_json(measured: tuple[LayerSensitivity, ...]) -> None:
    lines = sensitivity_table(measured[:2]).splitlines()
    assert len(lines) == 3
    assert lines[0].split('  ')[0] == 'layer'
    assert all(text in lines[1] for text in (measured[0].layer, measured[0].operator))
    assert json.loads(json.dumps(to_plain(measured[0])))['layer'] == measured[0].layer
    assert sensitivity_table([]).startswith('layer')


def test_bad_input_is_refused(exported: bytes, files: dict[str, bytes], images: Images) -> None:
    with pytest.raises(ExportError, match='expected images to measure .*, got none'):
        measure_sensitivity(exported, files['cpu'], [])
    other = onnx.load_from_string(files['cpu'])
    for node in other.graph.node:
        node.name = f'other_{node.name}'
    with pytest.raises(ExportError, match='expected a network and its quantised form'):
        measure_sensitivity(exported, other.SerializeToString(), images)


def test_a_network_that_is_not_quantised_has_no_layers(exported: bytes, images: Images) -> None:
    assert measure_sensitivity(exported, exported, images[:1]) == ()
