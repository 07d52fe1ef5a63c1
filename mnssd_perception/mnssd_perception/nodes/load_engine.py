"""Load, warm up and test the inference engine."""

from collections.abc import Callable
import os
from pathlib import Path

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import Engine, EngineOptions, open_engine
from mnssd_perception.nodes.parameters import DetectorParameters
from mnssd_perception.self_test import run_self_test
import numpy as np


def load_engine(bundle: Bundle, values: DetectorParameters, warn: Callable[[str], None]) -> Engine:
    """
    Open the engine, warm it up and run the self-test of the bundle.

    :param warn: is called with a message when the bundle cannot be tested.
    :raises MnssdError: when the engine cannot be used.
    """
    options = EngineOptions(values.threads, values.spinning)
    engine = open_engine(bundle, values.engine, options)
    try:
        blank = np.zeros((*bundle.manifest.spec.input_size, 3), np.uint8)
        for _ in range(values.warmup):
            engine.infer(blank)
        if not run_self_test(bundle, engine, cache_folder()):
            warn(
                'the bundle has no golden frames with clear detections: its accuracy on this '
                'machine is untested'
            )
    except Exception:
        engine.close()
        raise
    return engine


def cache_folder() -> Path | None:
    """
    Return the folder for cached files, after the XDG base directory specification.

    :return: the folder, which need not exist; None for a user without a home folder.
    """
    configured = os.environ.get('XDG_CACHE_HOME', '')
    if Path(configured).is_absolute():  # the specification ignores relative paths
        return Path(configured) / 'mnssd'
    try:
        return Path.home() / '.cache' / 'mnssd'
    except RuntimeError:
        return None
