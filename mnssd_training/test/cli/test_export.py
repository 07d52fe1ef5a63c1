"""``export`` as a user meets it."""

from collections.abc import Callable
from pathlib import Path

from mnssd_perception.bundle import open_bundle
from mnssd_training.cli import export
from mnssd_training.export import read_spec
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


@pytest.mark.parametrize('size', ['300', '300,', '0,300', '3.5,4', 'a,b'])
def test_an_invalid_size_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = ['--name', 'tiny', '--version', '1']
    with pytest.raises(SystemExit):
        export.main(['best.pt', *named, '--input-size', size])
    assert 'expected HEIGHT,WIDTH in pixels' in capsys.readouterr().err
