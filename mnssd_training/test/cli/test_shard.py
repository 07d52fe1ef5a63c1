"""The command ``mnssd shard``."""

from pathlib import Path

from mnssd_training.cli import shard
from mnssd_training.config import DataConfig
from mnssd_training.data import load_image, read_splits
import numpy as np
import pytest


def test_shards_round_trip(
    hit_uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['smoke', f'data.root={hit_uav}', '--output', str(tmp_path / 'out')]
    assert shard.main([*arguments, '--shard-size', '3']) == 0
    printed = capsys.readouterr()
    assert 'train: 4 images in 2 shards' in printed.out
    assert 'val: 4 images in 2 shards' in printed.out
    written = read_splits(DataConfig(root=str(tmp_path / 'out'), format='shards'))
    direct = read_splits(DataConfig(root=str(hit_uav)))
    assert written.class_names == direct.class_names
    for one, other in zip(written.train + written.val, direct.train + direct.val, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(load_image(one), load_image(other))
    assert shard.main(arguments) == 1
    assert 'exists already' in capsys.readouterr().err


@pytest.mark.parametrize('size', ['', '0', '-1', '1.5MB', '10TB', 'many', '9' * 20])
def test_invalid_shard_sizes_are_refused(
    hit_uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    arguments = ['smoke', f'data.root={hit_uav}', '--output', str(tmp_path / 'out')]
    assert shard.main([*arguments, f'--shard-size={size}']) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: --shard-size: expected')
    assert error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_shard_size_in_bytes(hit_uav: Path, tmp_path: Path) -> None:
    arguments = ['smoke', f'data.root={hit_uav}', '--output', str(tmp_path / 'out')]
    assert shard.main([*arguments, '--shard-size', '1kb']) == 0
    assert len(list((tmp_path / 'out').glob('train-*.tar'))) == 4
