"""The INT8 files of the small network; to make them takes seconds."""

from mnssd_perception.ssd import ModelSpec
from mnssd_training.data import Sample
from mnssd_training.export import load_calibration_images, quantize_for_cpu, quantize_for_tensorrt
import numpy as np
from numpy.typing import NDArray
import pytest

QUANTIZERS = {'cpu': quantize_for_cpu, 'tensorrt': quantize_for_tensorrt}


@pytest.fixture(scope='session')
def images(spec: ModelSpec, train_samples: list[Sample]) -> list[NDArray[np.uint8]]:
    return load_calibration_images(train_samples[:4], spec)


@pytest.fixture(scope='session')
def files(exported: bytes, images: list[NDArray[np.uint8]]) -> dict[str, bytes]:
    return {name: quantize(exported, images) for name, quantize in QUANTIZERS.items()}
