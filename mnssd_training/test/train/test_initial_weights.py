"""The weights that a run starts from: checkpoints and bundles."""

from collections.abc import Callable
from dataclasses import replace
import errno
import os
from pathlib import Path

from mnssd_perception.bundle import file_entries, open_bundle, shipped_bundle_path, write_bundle
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import feature_map, ModelSpec, resize_frame, resize_transform
from mnssd_training.cli import train as train_verb
from mnssd_training.config import Experiment, ModelConfig
from mnssd_training.data import load_image, Sample
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model, TorchEngine
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.initial_weights import (
    InitialWeights,
    load_initial_weights,
    load_matching_layers,
    read_initial_weights,
)
from mnssd_training.train.state import TrainState
import numpy as np
import onnx
import pytest
import torch

SHIPPED = str(shipped_bundle_path())
QUICK = [
    'training.epochs=1', 'training.batch_size=2', 'training.workers=0', 'logging.every_steps=1',
    'initial.backbone_weights=""', 'input.train_size=[160, 200]', 'training.precision=fp32',
]  # fmt: skip


def test_fine_tuning_starts_from_the_outputs_of_the_shipped_network(
    experiment: Callable[..., Experiment], val_samples: list[Sample]
) -> None:
    wanted = experiment(**{
        'input.size': '[512, 640]', 'input.train_size': '[160, 200]',
        'model.pyramid_channels': 128,
        'initial.checkpoint': SHIPPED,
        'priors.strides': '[8, 16, 32, 64]', 'priors.priors_per_cell': '[5, 4, 3, 3]',
    })  # fmt: skip
    state = TrainState(make_fabric(wanted.training), wanted)
    assert any(note.startswith(f'{SHIPPED}: loaded 100% of the weights') for note in state.notes)
    model = state.network.eval()
    engine = open_engine(open_bundle(SHIPPED), 'onnxruntime', precision='fp32')
    reference = TorchEngine(model)
    for sample in val_samples:
        image = load_image(sample)
        plan = resize_transform(image.shape[:2], model.spec.input_size, model.spec.resize)
        network_image = resize_frame(image, plan)
        one, other = engine.infer(network_image), reference.infer(network_image)
        assert np.abs(one.logits - other.logits).max() < 1e-3
        assert np.abs(one.offsets - other.offsets).max() < 1e-3
    engine.close()


def test_shipped_bundle_is_fine_tuned_by_the_command(
    hit_uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / 'run'
    arguments = ['hit_uav', f'data.root={hit_uav}', *QUICK]
    initial = f'initial.checkpoint={SHIPPED}'
    losses = []
    for overrides in ([], [initial]):
        assert train_verb.main([*arguments, *overrides, '--dry-run']) == 0
        losses.append(float(capsys.readouterr().out.partition('(classes ')[2].partition(',')[0]))
    assert losses[1] < losses[0] / 2
    assert train_verb.main([*arguments, initial, '--run', str(run)]) == 0
    assert 'loaded 100% of the weights; its priors differ' in capsys.readouterr().out
    assert (run / 'checkpoints' / 'best.pt').exists()


def test_other_classes_load_all_but_the_classification_layers(
    hit_uav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['hit_uav', f'data.root={hit_uav}', *QUICK, f'initial.checkpoint={SHIPPED}']
    rename = 'data.class_map={Bicycle: "", OtherVehicle: ""}'
    assert train_verb.main([*arguments, rename, '--dry-run']) == 0
    out = capsys.readouterr().out
    assert '4 layers start from scratch, such as logits.levels.0.1; its classes differ' in out


def test_bundle_without_usable_network_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(SHIPPED)
    files = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    manifest = bundle.manifest

    def error(changed: object) -> str:
        path = tmp_path / 'changed.mnssd'
        write_bundle(path, changed, files)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError) as caught:
            read_initial_weights(str(path))
        assert str(path) in str(caught.value)
        return str(caught.value)

    unknown = replace(manifest.provenance, experiment={})
    assert 'the manifest lacks a valid network configuration' in error(
        replace(manifest, provenance=unknown)
    )
    artefact = replace(manifest.artefacts[0], precision='int8')
    assert 'in fp32' in error(replace(manifest, artefacts=(artefact,)))
    other = {'model': {**manifest.provenance.experiment['model'], 'pyramid_channels': 64}}
    assert 'expected the shape' in error(
        replace(manifest, provenance=replace(manifest.provenance, experiment=other))
    )
    (tmp_path / 'none.mnssd').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'none\.mnssd'):
        read_initial_weights(str(tmp_path / 'none.mnssd'))
    with pytest.raises(CheckpointError, match=r'gone\.mnssd.*no such file'):
        read_initial_weights(str(tmp_path / 'gone.mnssd'))


def with_network(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Write a valid bundle of a changed network."""
    bundle = open_bundle(SHIPPED)
    artefact = bundle.artefact('onnxruntime', 'fp32')
    assert artefact
    files = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    files[artefact.path] = change(files[artefact.path])
    write_bundle(path, replace(bundle.manifest, files=file_entries(files)), files)
    return path


def cut_tensor(network: bytes) -> bytes:
    model = onnx.load_from_string(network)
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-1]
    return bytes(model.SerializeToString())


def external_tensor(network: bytes) -> bytes:
    model = onnx.load_from_string(network)
    tensor = model.graph.initializer[0]
    (Path() / 'weights.bin').write_bytes(tensor.raw_data)
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='weights.bin')
    return bytes(model.SerializeToString())


def text_tensor(network: bytes) -> bytes:
    model = onnx.load_from_string(network)
    text = onnx.helper.make_tensor('text', onnx.TensorProto.STRING, (1,), [b'a'])
    model.graph.initializer.append(text)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda _: b'', 'not an ONNX network that can be loaded'),
        (lambda _: b'garbage', 'not an ONNX network, or damaged'),
        (cut_tensor, 'not an ONNX network that can be loaded'),
        (external_tensor, 'expected all weights inside the ONNX file'),
        (text_tensor, 'expected an ONNX network with whole tensors'),
    ],
    ids=['empty', 'garbage', 'cut', 'external', 'text'],
)
def test_bundle_with_damaged_network_is_refused(
    change: Callable[[bytes], bytes], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = with_network(tmp_path / 'changed.mnssd', change)
    with pytest.raises(CheckpointError) as caught:
        read_initial_weights(str(path))
    assert str(caught.value).startswith(f'{path}: {reason}')


@pytest.mark.parametrize('suffix', ['', '.mnssd'])
def test_overlong_path_is_an_error(suffix: str) -> None:
    with pytest.raises(CheckpointError, match=os.strerror(errno.ENAMETOOLONG)):
        read_initial_weights('x' * 5000 + suffix)


def test_weights_without_a_common_layer_are_refused(spec: ModelSpec) -> None:
    network = build_model(spec, ModelConfig(pyramid_channels=8))
    for weights in ({}, {'a': torch.zeros(3)}, {'logits.levels.0.1.weight': torch.zeros(3)}):
        initial = InitialWeights(spec, weights, is_unfolded=False)
        with pytest.raises(CheckpointError, match='x.pt: .* no layer in common'):
            load_initial_weights(network, 'x.pt', initial)


def test_the_same_network_is_loaded_entirely(spec: ModelSpec) -> None:
    one, other = (build_model(spec, ModelConfig(pyramid_channels=8)) for _ in range(2))
    assert load_matching_layers(one, other.state_dict()) == ([], 1.0)
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
    new_layers, share = load_matching_layers(network, weights)
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
    assert share == loaded / sum(value.numel() for value in state.values())
