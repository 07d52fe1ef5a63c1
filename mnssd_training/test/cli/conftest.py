"""A network as a checkpoint and as a bundle, for the verbs that use one."""

from collections.abc import Callable
from pathlib import Path
import sys

from mnssd_perception.bundle import open_bundle
from mnssd_training.cli import export
from mnssd_training.config import load_experiment, ModelConfig
from mnssd_training.export import package
from mnssd_training.model import MobileNetSsd
from mnssd_training.train.checkpoint import Checkpoint, save_checkpoint
import pytest

Verb = Callable[[list[str]], int]


@pytest.fixture(scope='session')
def checkpoint(
    model: MobileNetSsd, hit_uav: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint that knows what data it was trained on."""
    path = tmp_path_factory.mktemp('run') / 'best.pt'
    overrides = [f'data.root={hit_uav}', 'model.pyramid_channels=32']
    experiment = load_experiment('smoke', overrides).model_dump(mode='json')
    save_checkpoint(
        path,
        Checkpoint(
            spec=model.spec,
            model_config=ModelConfig(pyramid_channels=32),
            experiment=experiment,
            weights=model.state_dict(),
            training=None,
            step=0,
            metrics={},
        ),
    )
    return path


@pytest.fixture(scope='session')
def bundle(checkpoint: Path, exported: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, made by the verb from what the checkpoint knows."""
    folder = tmp_path_factory.mktemp('bundles')
    card = folder / 'CARD.md'
    card.write_text('# card\n')
    arguments = [str(checkpoint), '--output', str(folder / 'new'), '--licence', 'CC BY 4.0']
    arguments += ['--name', 'tiny', '--version', '0.1.0', '--document', str(card)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[package.__module__], 'export_onnx', lambda _: exported)
        assert export.main([*arguments, '--score-threshold', '0.1']) == 0
    return folder / 'new' / 'tiny-0.1.0.mnssd'


@pytest.fixture(scope='session')
def network(bundle: Path) -> Path:
    """The ONNX file alone."""
    path = bundle.parent / 'network.onnx'
    path.write_bytes(open_bundle(bundle).read('network.onnx'))
    return path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a verb that must fail with one line on stderr; return that line."""

    def run(verb: Verb, *arguments: object) -> str:
        capsys.readouterr()
        assert verb(list(map(str, arguments))) == 1
        out, err = capsys.readouterr()
        assert out == ''
        *others, last = err.splitlines()
        assert last.startswith('error: ')
        assert all(line.startswith('warning: ') for line in others)
        return last

    return run
