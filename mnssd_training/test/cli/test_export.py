"""``export`` as a user meets it."""

from collections.abc import Callable
from pathlib import Path
import sys

from mnssd_perception.bundle import open_bundle
from mnssd_training.cli import export
from mnssd_training.export import package, read_spec
from mnssd_training.priors import resize_spec
from mnssd_training.train import load_checkpoint
import pytest


def test_a_bundle_opens(bundle: Path, checkpoint: Path, hit_uav: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.read('CARD.md') == b'# card\n'
    assert opened.manifest.thresholds.score == 0.1
    provenance = opened.manifest.provenance
    assert provenance.licence == 'CC BY 4.0'
    assert provenance.experiment['data']['root'] == hit_uav.name
    assert len(provenance.experiment['fingerprint']) == 12
    assert opened.manifest.artefacts[0].metrics['measured_on']['num_images'] == 4
    network = opened.read('network.onnx')
    assert read_spec(bundle, network) == load_checkpoint(checkpoint).spec


def test_the_same_weights_for_another_input(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'new folder' / 'any name.mnssd'
    arguments = [checkpoint, hit_uav, '--name', 'wide', '--version', '1', '--output', path]
    arguments += ['--input-size', '64,96', '--val-split', 'train']
    assert export.main(list(map(str, arguments))) == 0
    assert 'largest difference from it over 4 images' in capsys.readouterr().out
    assert path.is_file()  # that path itself, and no folder of that name
    spec = open_bundle(path).manifest.spec
    own = load_checkpoint(checkpoint).spec
    assert spec == resize_spec(own, (64, 96))
    assert spec.input_size == (64, 96) != own.input_size


def test_documents_of_one_name_are_refused(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    arguments = [checkpoint, hit_uav, '--name', 'tiny', '--version', '1', '--output', tmp_path]
    for folder in (tmp_path / 'one', tmp_path / 'two'):
        folder.mkdir()
        (folder / 'CARD.md').touch()
        arguments += ['--document', folder / 'CARD.md']
    assert 'CARD.md: expected documents with different names' in fails(export.main, *arguments)


def test_failures_of_export(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    named = ['--name', 'tiny', '--version', '1', '--output', tmp_path / 'out']

    def error(*arguments: object) -> str:
        return fails(export.main, *arguments)

    assert 'no such checkpoint' in error('gone.pt', hit_uav, *named)
    assert 'no such folder' in error(checkpoint, tmp_path / 'gone', *named)
    document = [checkpoint, hit_uav, *named, '--document', 'gone.md']
    assert 'gone.md: cannot read the document' in error(*document)
    file = [checkpoint, hit_uav, *named, '--output', hit_uav / 'LICENSE']
    assert 'LICENSE: cannot be made' in error(*file)
    threshold = [checkpoint, hit_uav, *named, '--score-threshold', '7']
    assert 'score_threshold: expected more than 0' in error(*threshold)
    assert list(tmp_path.iterdir()) == []
    calibration = [checkpoint, hit_uav, *named, '--calibration-images', tmp_path / 'none']
    assert 'none: cannot list the folder' in error(*calibration)


@pytest.mark.parametrize('size', ['300', '300,', '0,300', '3.5,4', 'a,b'])
def test_an_invalid_size_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = ['--name', 'tiny', '--version', '1']
    with pytest.raises(SystemExit):
        export.main(['best.pt', *named, '--input-size', size])
    assert 'expected HEIGHT,WIDTH in pixels' in capsys.readouterr().err


# --- deployment files --------------------------------------------------------------------------


@pytest.fixture
def deployment(checkpoint: Path, hit_uav: Path, tmp_path: Path) -> Path:
    path = tmp_path / 'deploy.yaml'
    (tmp_path / 'CARD.md').write_text('# card\n')
    path.write_text(
        f'name: tiny\nversion: 0.1.0\ncheckpoint: {checkpoint}\ndocuments: [CARD.md]\n'
        f'output: bundles\nlicence: CC BY 4.0\ndata: {{root: {hit_uav}}}\n'
    )
    return path


@pytest.fixture
def _exported_once(exported: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[package.__module__], 'export_onnx', lambda _: exported)


@pytest.mark.usefixtures('_exported_once')
def test_one_command_makes_a_bundle_of_a_deployment_file(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(['--deployment', str(deployment), '--quiet']) == 0
    bundle = open_bundle(deployment.parent / 'bundles' / 'tiny-0.1.0.mnssd')
    assert bundle.read('CARD.md') == b'# card\n'
    assert bundle.manifest.provenance.licence == 'CC BY 4.0'
    out, err = capsys.readouterr()
    assert err == ''
    header, row, *_ = out.splitlines()
    assert header.split()[:4] == ['artefact', 'engine', 'AP@0.5', 'drop']
    assert row.split()[:3] == ['network.onnx', 'onnxruntime', 'fp32']


@pytest.mark.usefixtures('_exported_once')
def test_refused_export_fails_with_a_report(deployment: Path, fails: Callable[..., str]) -> None:
    flags = ['--deployment', deployment, '--quiet', 'export.gate.min_map50=0.5']
    message = fails(export.main, *flags)
    assert 'the accuracy gate refused fp32 in onnxruntime: expected a mean AP@0.5' in message
    assert 'tiny-0.1.0.gate.txt' in message
    files = {path.name for path in (deployment.parent / 'bundles').iterdir()}
    assert files == {'tiny-0.1.0.gate.txt', 'tiny-0.1.0.gate.json'}


def test_command_line_overrides_the_file(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ['--deployment', str(deployment), '--print-config', '--version', '2', '--dataset', '']
    assert export.main([*flags, 'export.gate.max_drop_int8=0.5', 'thresholds.score=0.2']) == 0
    rows = dict(row.split(':', 1) for row in capsys.readouterr().out.splitlines() if ':' in row)
    assert rows['name'].split() == [
        'tiny',
        '#',
        f'{deployment}:1',
    ]
    assert rows['version'].split() == ['"2"', '#', 'command', 'line']
    assert rows['    max_drop_int8'].split()[0] == '0.5'
    assert rows['    min_map50'].split() == ['0.0', '#', 'checkpoint']
    assert rows['  score'].split()[0] == '0.2'


def test_mistakes_in_deployments(
    deployment: Path, checkpoint: Path, hit_uav: Path, fails: Callable[..., str]
) -> None:
    def error(*arguments: object) -> str:
        return fails(export.main, *arguments)

    assert 'expected a checkpoint, or --deployment' in error('--name', 'a')
    assert "missing key 'version'" in error(checkpoint, hit_uav, '--name', 'a')
    file = ['--deployment', deployment]
    assert "unknown key 'export.gat'; did you mean 'export.gate'" in error(*file, 'export.gat=1')
    assert 'gone.yaml: No such file' in error('--deployment', 'gone.yaml')
    assert 'expected CHECKPOINT, SOURCE and key' in error(checkpoint, hit_uav, 'a', *file)
    assert 'export.artefacts: expected names' in error(*file, 'export.artefacts=[int8]')
    assert 'no images to score on' in error(*file, 'data.val_split=')
