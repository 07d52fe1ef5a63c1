"""``mnssd benchmark`` on the shipped bundle."""

import json
from pathlib import Path

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.cli import benchmark as cli
import numpy as np
import pytest

Capture = pytest.CaptureFixture[str]
QUICK = ('--frames', '4', '--warmup', '1', '--engine', 'onnxruntime', '--precision', 'fp32')


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_report_is_printed_written_drawn_and_compared(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip('onnxruntime')
    path, plot = tmp_path / 'a.json', tmp_path / 'a.svg'
    bundle = shipped_bundle_path()
    assert run(bundle, *QUICK, '--threads', '1', '1', '--json', path, '--plot', plot) == 0
    assert '\nonnxruntime fp32, 1 thread ' in capsys.readouterr().out
    told = json.loads(path.read_text())
    assert len(told['runs']) == 1
    assert told['digest'] == open_bundle(bundle).digest
    assert told['images'] == '3 images of 640 x 512 (golden frames)'
    assert plot.read_text().startswith('<svg ')
    assert run('--compare', path, path) == 0
    assert 'onnxruntime fp32, 1 thread  total' in capsys.readouterr().out


def test_own_images(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip('onnxruntime')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((48, 64), np.uint8))
    assert run('--images', tmp_path, *QUICK) == 0
    assert '1 images of 64 x 48' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('none.mnssd',), 'no such file or directory'),
        (('--images', '/nowhere'), "no source '/nowhere'"),
        (('--engine', 'onnxrunetime'), 'engine: expected one of'),
        (('--engine', 'onnxruntime', '--precision', 'fp16'), 'has no network'),
        (('--frames', '3'), 'frames: expected 4'),
        (('--compare', 'none', 'none'), "'none' cannot be read"),
        (('--json', '/nowhere/a.json'), "'/nowhere/a.json' cannot be written: there is no such"),
        (('--plot', '/nowhere/a.svg'), "'/nowhere/a.svg' cannot be written: there is no such"),
    ],
)
def test_mistakes_are_explained(arguments: tuple[str, ...], message: str, capsys: Capture) -> None:
    assert run(*arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--threads', '--batch', '--frames', '--warmup'])
def test_numbers_below_one_are_wrong_usage(option: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run(option, '0')
    assert 'at least 1' in capsys.readouterr().err
