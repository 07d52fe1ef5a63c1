"""A password in the environment: used by a run, and found nowhere afterwards."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
import json
from pathlib import Path
import threading
import zipfile

from mnssd_training.cli import dataset, evaluate, export, train
from mnssd_training.data import Sample
from mnssd_training.data.shard_writer import ShardLimit, write_shards
import pytest

SECRET = 'Hunter2Hunter2'
CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
TINY = [
    'data.format=shards', 'input.size=[64, 80]', 'model.pyramid_channels=8',
    'model.width_mult=0.25',
    'training.batch_size=2', 'training.epochs=1', 'training.workers=0', 'logging.every_steps=1',
]  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    """A handler that prints nothing."""

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(
    tmp_path: Path, train_samples: list[Sample], val_samples: list[Sample]
) -> Iterator[ThreadingHTTPServer]:
    """Shards on a web server."""
    folder = tmp_path / 'web'
    write_shards(train_samples, CLASSES, folder, 'train', ShardLimit())
    write_shards(val_samples, CLASSES, folder, 'val', ShardLimit())
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def holders(folder: Path) -> list[str]:
    """Name the files and members of archives that hold the secret, or are named by it."""
    contents = {}
    for path in folder.rglob('*'):
        contents[str(path)] = path.read_bytes() if path.is_file() else b''
        if path.suffix in ('.mnssd', '.pt'):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                contents |= {f'{path}:{name}': archive.read(name) for name in names}
    assert contents
    secret = SECRET.encode()
    return [name for name, text in contents.items() if secret in name.encode() + text]


def stored_root(run: Path) -> str:
    """Read the root of the data in what a run has written down."""
    return str(json.loads((run / 'config.json').read_text())['data']['root'])


@pytest.mark.slow
def test_a_password_is_left_nowhere(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('TOKEN', SECRET)
    root = f'http://me:${{TOKEN}}@127.0.0.1:{server.server_port}'
    run, out = tmp_path / 'run', tmp_path / 'out'
    data = [f'data.root={root}', f'data.cache_dir={tmp_path / "cache"}']
    arguments = ['smoke', *TINY, *data, 'experiment.description="${TOKEN}"', '--run', str(run)]
    literal = [*arguments, f'data.root={root}'.replace('${TOKEN}', SECRET)]
    assert train.main(arguments) == 0
    assert train.main([*literal, '--resume']) == 0  # the same experiment, by its fingerprint
    assert stored_root(run) == root.replace('${TOKEN}', '***')
    assert train.main([*arguments, '--resume']) == 0
    assert stored_root(run) == root
    assert train.main([*arguments, '--dry-run']) == 0
    assert train.main([*arguments, '--print-config']) == 0
    step = str(next((run / 'checkpoints').glob('step-*.pt')))
    names = ['--name', 'tiny', '--version', '1', '--output', str(out)]
    named = arguments[:-2]
    data = [argument for argument in named if argument.startswith('data.')]
    loose = ['export.gate.min_map50=0', 'thresholds.score=0.05']
    assert export.main([step, *names, *data, *loose]) == 0
    report = ['--json', str(out / 'report.json'), '--html', str(out / 'report.html')]
    assert evaluate.main([step, '--quiet', *report, *named]) == 0
    assert evaluate.main([step, '--quiet']) == 1  # the checkpoint may be anybody's
    assert dataset.main(['check', *arguments[:-2], '--quiet', '--workers', '1']) == 0
    server.shutdown()
    server.server_close()
    monkeypatch.setattr('mnssd_training.data.remote.FIRST_WAIT', 0)
    wrong = [f'initial.checkpoint=http://h.invalid/a.pt?token={SECRET}', f'x=ftp://a:{SECRET}@h']
    errors = [
        train.main([*arguments[:-1], str(tmp_path / 'other')]),
        evaluate.main([step, '--quiet', *named]),
        *(train.main([*arguments, text, '--dry-run']) for text in wrong),
    ]
    monkeypatch.delenv('TOKEN')
    errors.append(evaluate.main([step, '--quiet', 'smoke', *data]))
    assert errors == [1] * 5
    shown = ''.join(capfd.readouterr())
    assert 'data.root: the environment variable TOKEN is not set' in shown
    assert 'in the checkpoint: data.root: expected an address without environment' in shown
    assert SECRET not in shown
    assert holders(run) == []
    assert holders(out) == []
