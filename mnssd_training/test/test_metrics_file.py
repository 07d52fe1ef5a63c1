"""Rows of ``metrics.jsonl``, damaged ones among them."""

import json
from pathlib import Path
from typing import Any

from mnssd_training.metrics_file import EpochMetrics, parse_row, read_epochs
import pytest


@pytest.mark.parametrize(
    'line',
    [
        b'', b'\x00', b'{"kind": "epoch", "st', b'[1]', b'7', b'{}', b'{"step": 1}',
        b'{"kind": "epoch", "step": 1}', b'{"kind": "epoch", "epoch": "x"}', b'{"kind": "step"}',
        b'{"kind": "step", "step": true}', b'\xff\xfe',
    ],
)  # fmt: skip
def test_damaged_rows(line: bytes) -> None:
    assert parse_row(line) is None


@pytest.mark.parametrize(
    'row', [{'kind': 'epoch', 'epoch': 1}, {'kind': 'step', 'step': 5, 'other': None}]
)
def test_rows(row: dict[str, Any]) -> None:
    assert parse_row(json.dumps(row).encode()) == row


def test_epochs_of_the_run_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / 'run' / 'checkpoints' / 'best.pt'
    checkpoint.parent.mkdir(parents=True)
    assert read_epochs(str(checkpoint)) == []
    rows: list[Any] = [
        {'kind': 'epoch', 'epoch': 1, 'step': 5, 'loss': 2.0, 'learning_rate': 0.1},
        {'kind': 'epoch', 'epoch': 2, 'step': 10, 'loss': 1.0, 'map50': 0.5, 'box_loss': None},
        {'kind': 'step', 'step': 7},
        {'kind': 'epoch', 'epoch': 3},
        [1],
    ]
    lines = [*map(json.dumps, rows), '{"kind": "epoch", "st', '\x00']
    (tmp_path / 'run' / 'metrics.jsonl').write_text('\n'.join(lines))
    assert read_epochs(str(checkpoint)) == [
        EpochMetrics(5, 2.0, None, None, None, 0.1),
        EpochMetrics(10, 1.0, None, None, 0.5, None),
    ]
    assert read_epochs('s3://bucket/run/checkpoints/best.pt') == []
    assert read_epochs(str(tmp_path / 'best.pt')) == []
