"""``mnssd finetune``: each flag of the script before mnssd does what it did."""

from argparse import Namespace
from collections.abc import Sequence
import json
from pathlib import Path
import shutil
from typing import Any

from mnssd_training.cli import finetune
from mnssd_training.cli.finetune import FLAGS, main, SWITCHES
from mnssd_training.config import Experiment, load_experiment
from mnssd_training.data import Sample
import pytest

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Experiment, dict[str, Any]]]:
    """Write down what would be trained."""
    calls: list[tuple[Experiment, dict[str, Any]]] = []

    def record(
        experiment: Experiment, args: Namespace, run: Path | None, _: str, arguments: Sequence[str]
    ) -> None:
        options = {'run': run, 'resume': args.resume, 'quiet': args.quiet, 'arguments': arguments}
        calls.append((experiment, options))

    monkeypatch.setattr(finetune, 'run_training', record)
    return calls


def test_default_is_the_preset(
    trained: list[tuple[Experiment, dict[str, Any]]],
) -> None:
    assert main([]) == 0
    ((experiment, rest),) = trained
    assert experiment == load_experiment('finetune')
    assert rest == {'run': None, 'resume': None, 'quiet': False, 'arguments': []}


@pytest.mark.parametrize(
    ('flags', 'overrides'),
    [
        (['--data-root', 'my data'], ['data.root="my data"']),
        (['--train-split', 'a/splits/train.txt'], ['data.train_split=a/splits/train.txt']),
        (['--val-split', 'test'], ['data.val_split=test']),
        (['--image-size', '256'], ['input.size=[256, 256]']),
        (['--epochs', '3'], ['training.epochs=3']),
        (['--batch-size', '2'], ['training.batch_size=2']),
        (['--lr', '1e-3'], ['optimizer.learning_rate=0.001']),
        (['--momentum', '0'], ['optimizer.momentum=0.0']),
        (['--weight-decay', '0'], ['optimizer.weight_decay=0.0']),
        (['--workers', '0'], ['training.workers=0']),
        (['--output-dir', '2024'], ['logging.root="2024"']),
        (['--weights-backbone', 'none'], []),
        (['--weights-backbone', 'imagenet'], ['initial.backbone_weights=imagenet']),
        (['--weights-backbone', 'a b.pth'], ['initial.backbone_weights="a b.pth"']),
        (['--device', 'cuda'], ['training.accelerator=gpu']),
        (['--device', 'cpu'], ['training.accelerator=cpu']),
        (['--seed', '7'], ['training.seed=7']),
        (['--amp'], ['training.precision=bf16']),
        (['--strict-labels'], ['data.strict_labels=true']),
        (
            ['--set', 'loss.focal_gamma=0.5', '--set', 'data.root=a'],
            ['loss.focal_gamma=0.5', 'data.root=a'],
        ),
        (['--data-root', '${HOME}: [x]'], ['data.root="$${HOME}: [x]"']),
    ],
    ids=lambda flags: flags[0][2:] if flags and flags[0].startswith('--') else '',
)  # fmt: skip
def test_flag_sets_its_key(
    flags: Sequence[str],
    overrides: Sequence[str],
    trained: list[tuple[Experiment, dict[str, Any]]],
) -> None:
    assert main(flags) == 0
    assert trained[0][0] == load_experiment('finetune', overrides)


def test_run_flags(trained: list[tuple[Experiment, dict[str, Any]]]) -> None:
    flags = ['--output-dir', 'out', '--run-name', 'first', '--quiet', '--resume']
    assert main(flags) == 0
    assert trained[0][1] == {
        'run': Path('out/first'), 'resume': True, 'quiet': True, 'arguments': flags
    }  # fmt: skip
    assert main(['--resume', 's3://bucket/a.pt']) == 0
    assert trained[1][1]['resume'] == 's3://bucket/a.pt'


def test_help_lists_all_flags_of_the_script(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(['--help'])
    out = capsys.readouterr().out
    flags = (
        'data-root train-split val-split image-size epochs batch-size lr momentum weight-decay '
        'workers output-dir run-name weights-backbone device seed resume amp strict-labels'
    )
    assert all(f'--{flag} ' in out or f'--{flag}\n' in out for flag in flags.split())
    assert len(flags.split()) == 18
    assert len({key for key, _, _ in FLAGS.values()}) == len(FLAGS) == 16 - len(SWITCHES)


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--epochs', 'many'], 'training.epochs: expected an integer, got "many"'),
        (['--image-size', '0'], 'input.size.0: expected more than 0, got 0'),
        (['--lr', '['], 'not YAML'),
        (['--device', 'tpu'], "training.accelerator: expected 'auto', 'cpu' or 'gpu', got"),
        (['--set', 'loss.smooth_l1_bta=1'], "did you mean 'loss.smooth_l1_beta'?"),
        (['--data-root', 'gone', '--quiet'], 'gone: no such folder'),
    ],
    ids=['epochs', 'image-size', 'lr', 'device', 'set', 'data-root'],
)  # fmt: skip
def test_invalid_value_is_named(flags: Sequence[str], words: str, capsys: Capture) -> None:
    assert main(flags) == 1
    err = capsys.readouterr().err
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    assert words in err


def test_print_config(capsys: Capture) -> None:
    assert main(['--epochs', '3', '--print-config']) == 0
    out = capsys.readouterr().out
    assert '  epochs: 3  ' in out
    assert '# command line' in out


@pytest.fixture
def yolo_root(hit_uav: Path, train_samples: list[Sample], tmp_path: Path) -> Path:
    """Lay images out as YOLO; the list of train is of another computer."""
    root = tmp_path / 'finetune_dataset'
    for folder in ('images', 'labels', 'splits'):
        (root / folder).mkdir(parents=True)
    shutil.copy(hit_uav / 'classes.txt', root)
    names = []
    for sample in train_samples[:4]:
        path = Path(str(sample.path))
        names.append(path.name)
        shutil.copy(path, root / 'images')
        height, width = sample.size
        lines = [
            f'{label} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} '
            f'{(x1 - x0) / width} {(y1 - y0) / height}\n'
            for label, (x0, y0, x1, y1) in zip(sample.labels, sample.boxes)
        ]
        (root / 'labels' / f'{path.stem}.txt').write_text(''.join(lines))
    (root / 'splits' / 'train.txt').write_text(''.join(f'/elsewhere/{n}\n' for n in names[:2]))
    (root / 'splits' / 'val.txt').write_text(''.join(f'images/{n}\n' for n in names[2:]))
    return root


def test_documented_command_trains(yolo_root: Path, tmp_path: Path) -> None:
    arguments = [
        '--data-root', yolo_root, '--train-split', yolo_root / 'splits' / 'train.txt',
        '--val-split', yolo_root / 'splits' / 'val.txt', '--epochs', 1, '--batch-size', 2,
        '--image-size', 64, '--workers', 0, '--device', 'cpu', '--output-dir', tmp_path,
        '--run-name', 'run', '--quiet', '--set', 'logging.tensorboard=false',
    ]  # fmt: skip
    assert main(list(map(str, arguments))) == 0
    run = tmp_path / 'run'
    assert json.loads((run / 'status.json').read_text())['status'] == 'success'
    assert (run / 'checkpoints' / 'best.pt').exists()
    assert json.loads((run / 'fingerprint.json').read_text())['fingerprint']
