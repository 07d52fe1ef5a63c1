"""What is found out about ONNX files: ours, damaged ones and those of others."""

from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.engines import open_onnx
from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import ModelSpec
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.errors import ExportError
from mnssd_training.export import convert_to_fp16, export_batch, export_decoded
from mnssd_training.export.parity import compare_heads
from mnssd_training.export.validation import (
    DecodedEngine,
    inspect_network,
    open_form,
    validate_network,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.train.initial_weights import recover_model
import numpy as np
from numpy.typing import NDArray
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest


@pytest.fixture(scope='module')
def decoded(model: MobileNetSsd) -> bytes:
    return export_decoded(model).network


@pytest.fixture
def images(spec: ModelSpec) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (2, *spec.input_size, 3), np.uint8)


def make_foreign(opset: int = 12, domain: str = '', external: bool = False) -> bytes:
    """Make a network as other programs export them: float NCHW to a single output."""
    weights = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), 'weights')
    if external:
        weights.ClearField('raw_data')
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key='location', value='weights.bin')
    graph = helper.make_graph(
        [
            helper.make_node('Conv', ['images', 'weights'], ['x']),
            helper.make_node('Mystery' if domain else 'Relu', ['x'], ['output0'], domain=domain),
        ],
        'foreign',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, [1, 3, 96, 120])],
        [helper.make_tensor_value_info('output0', TensorProto.FLOAT, [1, 4, 96, 120])],
        [weights],
    )
    opsets = [helper.make_opsetid('', opset), *([helper.make_opsetid(domain, 1)] * bool(domain))]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


def test_no_network_is_refused(spec: ModelSpec) -> None:
    for content, reason in ((b'', 'without operators'), (b'text', 'not an ONNX network')):
        with pytest.raises(ExportError, match=reason):
            inspect_network(content, spec)


def test_forms_and_precisions_are_recognised(
    exported: bytes, decoded: bytes, model: MobileNetSsd, spec: ModelSpec
) -> None:
    for network, form, precision, opset in (
        (exported, 'network', 'fp32', 18),
        (export_batch(model), 'batch', 'fp32', 18),
        (convert_to_fp16(exported), 'network', 'fp16', 18),
        (decoded, 'decoded', 'fp32', 17),
    ):
        structure = inspect_network(network, spec)
        assert structure.problems == ()
        assert (structure.form, structure.precision, structure.opset) == (form, precision, opset)


def test_a_foreign_file_is_described(spec: ModelSpec) -> None:
    problems = inspect_network(make_foreign(), spec).problems
    assert problems[0] == (
        "expected an input 'image' of uint8 (96, 120, 3), got 'images' of float32 (1, 3, 96, 120)"
    )
    text = '; '.join(problems)
    assert 'unexpected inputs: images' in text
    assert "expected an output 'logits' of float32 (420, 5), got 'output0'" in text
    assert 'expected opset 13 or later, got 12' in text


@pytest.mark.parametrize(
    ('options', 'problem'),
    [
        ({'external': True}, "all weights inside the file, tensor 'weights' is in another one"),
        ({'domain': 'com.example'}, 'unsupported operators: com.example.Mystery'),
    ],
    ids=['external', 'operator'],
)
def test_what_no_engine_runs_is_named(
    spec: ModelSpec, options: dict[str, Any], problem: str
) -> None:
    assert problem in '; '.join(inspect_network(make_foreign(18, **options), spec).problems)


def test_a_network_of_other_classes_is_described(exported: bytes, spec: ModelSpec) -> None:
    proto = onnx.load_from_string(exported)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 21
    (problem,) = inspect_network(proto.SerializeToString(), spec).problems
    assert problem == ("expected an output 'logits' of float32 (420, 5), got float32 (420, 21)")


def test_a_file_that_the_drone_refuses_is_not_run(
    exported: bytes, model: MobileNetSsd, images: NDArray[np.uint8]
) -> None:
    proto = onnx.load_from_string(exported)
    del proto.graph.value_info[:]
    validation = validate_network(proto.SerializeToString(), model, images)
    assert 'expected the shapes of all tensors' in validation.problems[0]
    assert validation.heads is None


def test_what_was_exported_matches(
    exported: bytes, decoded: bytes, model: MobileNetSsd, images: NDArray[np.uint8]
) -> None:
    for network in (exported, convert_to_fp16(export_batch(model)), decoded):
        validation = validate_network(network, model, images)
        assert validation.problems == ()
        assert validation.heads is not None
        assert validation.heads.num_images == len(images)


def test_detections_are_compared_on_annotated_images(
    shipped: tuple[bytes, MobileNetSsd], val_samples: list[Sample]
) -> None:
    network, model = shipped
    sample = max(val_samples, key=lambda sample: len(sample.boxes))
    image = load_image(sample)
    verdict = validate_network(network, model, [image], [sample]).verdict
    assert verdict is not None
    assert (verdict.passed, verdict.num_changed) == (True, 0)
    assert verdict.num_detections > 0
    validation = validate_network(damage(network, 'bias'), model, [image], [sample])
    assert validation.verdict is not None
    assert set(validation.verdict.reasons) < set(validation.problems)


def damage(network: bytes, name: str) -> bytes:
    """Change a network so that it is valid but computes something else."""
    proto = onnx.load_from_string(network)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for key, tensor in tensors.items():
        value = numpy_helper.to_array(tensor)
        if name == 'mean' and key.endswith('mean'):
            tensor.CopyFrom(numpy_helper.from_array(value * 0, key))
        if name == 'channels' and value.ndim == 4 and value.shape[1] == 3:
            tensor.CopyFrom(numpy_helper.from_array(value[:, ::-1].copy(), key))
        if name == 'bias' and value.ndim == 1 and value.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(value + np.float32(0.05), key))
    return proto.SerializeToString()


@pytest.fixture(scope='module')
def shipped() -> tuple[bytes, MobileNetSsd]:
    """A trained network: the heads of a random one hardly depend on the image."""
    bundle = open_bundle(shipped_bundle_path())
    artefact = bundle.artefact('onnxruntime', 'fp32')
    assert artefact is not None
    return bundle.read(artefact.path), recover_model(str(bundle.path))


@pytest.mark.parametrize('name', ['', 'mean', 'channels', 'bias'])
@pytest.mark.parametrize('half', [False, True], ids=['fp32', 'fp16'])
def test_a_changed_network_does_not_match(
    shipped: tuple[bytes, MobileNetSsd], name: str, half: bool
) -> None:
    original, model = shipped
    network = damage(original, name)
    network = convert_to_fp16(network) if half else network
    image = np.random.default_rng(6).integers(0, 256, (*model.spec.input_size, 3), np.uint8)
    problems = validate_network(network, model, [image]).problems
    assert [problem.partition(' within')[0] for problem in problems] == (
        ['expected logits', 'expected offsets'] if name else []
    )


def test_no_image_is_an_error(exported: bytes, model: MobileNetSsd) -> None:
    with pytest.raises(ExportError, match='at least one image'):
        validate_network(exported, model, [])


def test_decoded_boxes_become_raw_heads_again(
    decoded: bytes, model: MobileNetSsd, images: NDArray[np.uint8]
) -> None:
    engine = DecodedEngine(model.spec, decoded)
    assert engine.available() is None
    differences = compare_heads(TorchEngine(model), engine, images)
    assert differences.logits < 1e-3
    assert differences.offsets < 1e-3
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.infer(images[0])


def test_a_decoded_network_that_does_not_load(spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match='not an ONNX network that can be loaded'):
        open_form(spec, b'no network', 'decoded')


def test_the_network_of_the_drone_runs_in_its_engine(exported: bytes, spec: ModelSpec) -> None:
    assert type(open_form(spec, exported, 'network')) is type(
        open_onnx(spec, exported, 'onnxruntime')
    )
