"""Real images and small networks that many tests need."""

from collections.abc import Callable
import gc
import os
from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import Experiment, load_experiment, ModelConfig, SourceConfig
from mnssd_training.data import read_samples, Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.model import build_model, MobileNetSsd
import numpy as np
import pytest
import torch
from torch import nn

if TYPE_CHECKING:
    from mnssd_training.export import HailoNetwork

ASSETS = Path(__file__).parent / 'assets'
SHARED = Path(__file__).parents[2].parent / 'shared'


@pytest.fixture(autouse=True, scope='session')
def _one_thread() -> None:
    """Two test processes share the machine; the images and networks here are small."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(autouse=True, scope='session')
def _forkable() -> None:
    """
    Let tests fork processes that train, in whatever order the tests run.

    The first backward pass of a process starts a thread for each kind of device. An export that
    ran before has registered a made-up GPU, whose thread no forked process would have.

    Garbage of other tests, such as sessions of ONNX Runtime and ROS nodes, stays out of the forked
    process: its destructors need threads that are not there, and crash.
    """
    torch.zeros(1, requires_grad=True).sum().backward()
    os.register_at_fork(before=gc.freeze, after_in_parent=gc.unfreeze)


@pytest.fixture(scope='session')
def hit_uav() -> Path:
    return ASSETS / 'hit_uav'


@pytest.fixture(scope='session')
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip('needs the folder shared/ beside the repository')
    return SHARED


@pytest.fixture(scope='session')
def train_samples(hit_uav: Path) -> list[Sample]:
    return read_samples(SourceConfig(root=str(hit_uav)), 'train')


@pytest.fixture(scope='session')
def val_samples(hit_uav: Path) -> list[Sample]:
    return read_samples(SourceConfig(root=str(hit_uav)), 'val')


@pytest.fixture(scope='session')
def spec() -> ModelSpec:
    """A small network input with three levels."""
    size = (96, 120)
    levels = (
        feature_map(size, 8, ((8.0, 12.0), (16.0, 12.0))),
        feature_map(size, 16, ((20.0, 24.0),)),
        feature_map(size, 32, ((48.0, 40.0),)),
    )
    return ModelSpec(size, ('Person', 'Car', 'Bicycle', 'OtherVehicle'), levels)


@pytest.fixture(scope='session')
def model(spec: ModelSpec) -> MobileNetSsd:
    """A network whose statistics and heads differ from fresh ones, as after training."""
    torch.manual_seed(7)
    model = build_model(spec, ModelConfig(pyramid_channels=32))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.5)
        for head in (model.logits, model.offsets):
            for layer in head.prediction_layers():
                layer.weight.normal_(std=0.2)
                layer.bias.normal_(std=0.2)
    return model


@pytest.fixture(scope='session')
def exported(model: MobileNetSsd) -> bytes:
    """The network as ONNX; to export takes seconds."""
    from mnssd_training.export import export_onnx

    return export_onnx(model)


@pytest.fixture(scope='session')
def hailo_network(model: MobileNetSsd) -> 'HailoNetwork':
    """The network for Hailo's compiler."""
    from mnssd_training.export import export_for_hailo

    return export_for_hailo(model)


@pytest.fixture
def experiment(hit_uav: Path) -> Callable[..., Experiment]:
    """Make a tiny experiment on the real images, with changes."""

    def make(**changes: Any) -> Experiment:
        small = {
            'data.root': hit_uav,
            'input.size': '[96, 120]',
            'model.pyramid_channels': 16,
            'training.batch_size': 2,
            'training.epochs': 2,
        }
        changes = {key.replace('__', '.'): value for key, value in changes.items()}
        overrides = [f'{key}={value}' for key, value in (small | changes).items()]
        return load_experiment('smoke', overrides)

    return make


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Make a sample from lists."""

    def make(
        boxes: Any = (),
        labels: Any = (),
        ignore: Any = (),
        ignore_labels: Any = None,
        size: tuple[int, int] = (512, 640),
        name: str = 'made_up',
        path: Path = Path('made_up.png'),
    ) -> Sample:
        ignore = np.array(ignore, np.float32).reshape(-1, 4)
        if ignore_labels is None:
            ignore_labels = [ANY_CLASS] * len(ignore)
        return Sample(
            name,
            path,
            size,
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(labels, np.int64),
            ignore,
            np.array(ignore_labels, np.int64),
        )

    return make
