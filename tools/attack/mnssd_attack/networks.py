"""Damaged networks in bundles whose digests fit, as a forger or a broken exporter makes them."""

from mnssd_perception.detector import Detector
from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
import numpy as np

from mnssd_attack.spoil import spoil
from mnssd_attack.target import Target

__all__ = ['attack_engine']


def attack_engine(target: Target, generator: np.random.Generator) -> None:
    """
    Load a damaged network and, where it loads, look at a picture with it.

    :param target: what is attacked.
    :param generator: of the damage.
    """
    model = spoil(target.model, generator)
    engine = OnnxRuntimeEngine(model, target.bundle.manifest.spec, 'fp32', EngineOptions(1))
    image = generator.integers(0, 256, (48, 64, 3), np.uint8)
    target.check(Detector(target.bundle, engine).detect(image), (48, 64))
    engine.close()
