"""The network for Hailo's compiler."""

from dataclasses import replace
from typing import Any

from mnssd_perception.engines.head_maps import list_head_maps
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.data import Sample
from mnssd_training.errors import ExportError
from mnssd_training.export import export_for_hailo, HailoNetwork, load_calibration_images
from mnssd_training.model import build_model, MobileNetSsd, TorchEngine
import numpy as np
import onnx
import pytest


@pytest.fixture
def network(hailo_network: HailoNetwork) -> HailoNetwork:
    return hailo_network


def run(network: HailoNetwork, image: Any) -> tuple[Any, Any]:
    """Normalise, run and join the maps, as the chip and the drone do."""
    onnxruntime = pytest.importorskip('onnxruntime')
    spec = network.spec
    session = onnxruntime.InferenceSession(network.network, providers=['CPUExecutionProvider'])
    pixels = (image / 255 - spec.normalisation.mean) / spec.normalisation.std
    names = [item.name for item in list_head_maps(spec)]
    maps = session.run(names, {'images': pixels.astype(np.float32).transpose(2, 0, 1)[None]})
    heads = tuple(
        np.full((spec.num_priors, columns), np.nan, np.float32)
        for columns in (spec.num_classes + 1, 4)
    )
    for item, values in zip(list_head_maps(spec), maps):
        item.view(heads)[...] = values[0].transpose(1, 2, 0)
    return heads[0], heads[1]


def check_parity(model: MobileNetSsd, network: HailoNetwork, samples: list[Sample]) -> None:
    engine = TorchEngine(model)
    for image in load_calibration_images(samples, model.spec):
        expected = engine.infer(image)
        logits, offsets = run(network, image)
        np.testing.assert_allclose(logits, expected.logits, atol=1e-4)
        np.testing.assert_allclose(offsets, expected.offsets, atol=1e-4)


def test_joined_maps_are_the_heads_of_the_checkpoint(
    model: MobileNetSsd, network: HailoNetwork, val_samples: list[Sample]
) -> None:
    check_parity(model, network, val_samples)


def test_the_file_is_what_the_compiler_takes(network: HailoNetwork, spec: ModelSpec) -> None:
    proto = onnx.load_from_string(network.network)
    onnx.checker.check_model(proto, full_check=True)
    (image,) = proto.graph.input
    assert image.name == network.start_node == 'images'
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (image, *proto.graph.output)
    }
    assert shapes.pop('images') == [1, 3, *spec.input_size]
    expected = {item.name: [1, item.shape[2], *item.shape[:2]] for item in list_head_maps(spec)}
    assert shapes == expected
    assert {node.op_type for node in proto.graph.node} <= {'Conv', 'Clip', 'Add', 'Resize'}
    assert not any(tensor.external_data for tensor in proto.graph.initializer)


def test_end_nodes_are_nodes_with_stable_names(network: HailoNetwork, model: MobileNetSsd) -> None:
    proto = onnx.load_from_string(network.network)
    nodes = {node.name: node for node in proto.graph.node}
    assert len(nodes) == len(proto.graph.node)
    for name in network.end_nodes:
        assert nodes[name].op_type == 'Conv'
        assert list(nodes[name].output) == [name]
    assert network.end_nodes == tuple(output.name for output in proto.graph.output)
    assert network.end_nodes[0] == 'logits_0'
    assert network.end_nodes[-1] == 'offsets_2'


@pytest.mark.slow
def test_the_same_network_makes_the_same_bytes(network: HailoNetwork, model: MobileNetSsd) -> None:
    assert export_for_hailo(model).network == network.network


@pytest.mark.slow
def test_shared_heads_of_three_classes(spec: ModelSpec, val_samples: list[Sample]) -> None:
    levels = tuple(replace(level, sizes=((9.0, 9.0), (20.0, 12.0))) for level in spec.feature_maps)
    spec = replace(spec, class_names=('a', 'b', 'c'), feature_maps=levels)
    config = ModelConfig(pyramid_channels=16, shared_head=True, head='plain', head_channels=16)
    model = build_model(spec, config)
    check_parity(model, export_for_hailo(model), val_samples[:1])


@pytest.mark.slow
def test_a_network_that_does_not_end_in_convolutions_is_refused(model: MobileNetSsd) -> None:
    class Head:
        def predict_maps(self, maps: Any) -> Any:
            return [x.softmax(dim=1) for x in model.logits.predict_maps(maps)]

    other = MobileNetSsd(model.spec, ModelConfig(pyramid_channels=32)).eval()
    del other.logits
    other.__dict__['logits'] = Head()
    with pytest.raises(ExportError, match="expected output 'logits_0' .* from Softmax"):
        export_for_hailo(other)
