"""The weights that a run begins with, from checkpoints and bundles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mnssd_perception.bundle import open_bundle, shipped_bundle_path, write_bundle
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import resize_frame, resizing
from mnssd_training.cli import train as train_verb
from mnssd_training.config import Experiment
from mnssd_training.data import load_image, Sample
from mnssd_training.errors import CheckpointError
from mnssd_training.train.initial import read_initial
from mnssd_training.train.prepare import prepare
import numpy as np
import pytest

SHIPPED = str(shipped_bundle_path())
QUICK = [
    'training.epochs=1', 'training.batch_size=2', 'training.workers=0', 'logging.every_steps=1',
    'initial.backbone_weights=""', 'input.train_size=[160, 200]', 'training.precision=fp32',
]  # fmt: skip


def test_a_fine_tune_begins_with_the_outputs_of_the_shipped_network(
    experiment: Callable[..., Experiment], val_samples: list[Sample]
) -> None:
    wanted = experiment(**{
        'input.size': '[512, 640]', 'input.train_size': '[160, 200]', 'model.channels': 128,
        'initial.checkpoint': SHIPPED,
        'priors.strides': '[8, 16, 32, 64]', 'priors.a_cell': '[5, 4, 3, 3]',
    })  # fmt: skip
    prepared = prepare(wanted)
    assert any(note.startswith(f'{SHIPPED}: 100% of the weights') for note in prepared.notes)
    model = prepared.model.eval()
    engine = open_engine(open_bundle(SHIPPED), 'onnxruntime')
    for sample in val_samples:
        image = load_image(sample)
        plan = resizing(image.shape[:2], model.spec.input_size, model.spec.resize)
        network_image = resize_frame(image, plan)
        one, other = engine.infer(network_image), model.infer(network_image)
        assert np.abs(one.logits - other.logits).max() < 1e-3
        assert np.abs(one.offsets - other.offsets).max() < 1e-3
    engine.close()


def test_a_fine_tune_of_the_shipped_bundle_by_the_command_line(
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
    assert '100% of the weights taken over; its priors are others' in capsys.readouterr().out
    assert (run / 'checkpoints' / 'best.pt').exists()


def test_other_classes_take_over_all_but_the_classification(
    hit_uav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['hit_uav', f'data.root={hit_uav}', *QUICK, f'initial.checkpoint={SHIPPED}']
    rename = 'data.rename={Bicycle: "", OtherVehicle: ""}'
    assert train_verb.main([*arguments, rename, '--dry-run']) == 0
    out = capsys.readouterr().out
    assert '4 layers begin afresh, such as logits.levels.0.1; its classes are others' in out


def test_bundles_that_cannot_be_fine_tuned(tmp_path: Path) -> None:
    bundle = open_bundle(SHIPPED)
    files = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    manifest = bundle.manifest

    def error(changed: object) -> str:
        path = tmp_path / 'changed.mnssd'
        write_bundle(path, changed, files)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError) as caught:
            read_initial(str(path))
        assert str(path) in str(caught.value)
        return str(caught.value)

    unknown = replace(manifest.provenance, experiment={})
    assert 'does not tell what the network is made of' in error(
        replace(manifest, provenance=unknown)
    )
    artefact = replace(manifest.artefacts[0], precision='int8')
    assert 'in fp32' in error(replace(manifest, artefacts=(artefact,)))
    other = {'model': {**manifest.provenance.experiment['model'], 'channels': 64}}
    assert 'expected the shape' in error(
        replace(manifest, provenance=replace(manifest.provenance, experiment=other))
    )
    (tmp_path / 'none.mnssd').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'none\.mnssd'):
        read_initial(str(tmp_path / 'none.mnssd'))
    with pytest.raises(CheckpointError, match=r'gone\.mnssd.*no such file'):
        read_initial(str(tmp_path / 'gone.mnssd'))
