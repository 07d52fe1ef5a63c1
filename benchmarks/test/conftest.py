"""A small dataset and a small network for the tests of the benchmarks."""

from pathlib import Path

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples, Sample
import pytest


@pytest.fixture(scope='session')
def hit_uav() -> Path:
    return Path(__file__).parents[2] / 'mnssd_training' / 'test' / 'assets' / 'hit_uav'


@pytest.fixture(scope='session')
def train_samples(hit_uav: Path) -> list[Sample]:
    return read_samples(SourceConfig(root=str(hit_uav)), 'train')


@pytest.fixture(scope='session')
def spec() -> ModelSpec:
    size = (96, 120)
    levels = (
        feature_map(size, 8, ((8.0, 12.0), (16.0, 12.0))),
        feature_map(size, 16, ((20.0, 24.0),)),
        feature_map(size, 32, ((48.0, 40.0),)),
    )
    return ModelSpec(size, ('Person', 'Car', 'Bicycle', 'OtherVehicle'), levels)
