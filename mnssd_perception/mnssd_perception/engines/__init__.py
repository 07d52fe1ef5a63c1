"""Inference engines, which run a network on the hardware at hand."""

from mnssd_perception.engines.engine import Engine, EngineInfo, EngineOptions
from mnssd_perception.engines.open import (
    Candidate,
    ENGINES,
    FallbackEngine,
    list_candidates,
    open_engine,
    open_onnx,
    Rejection,
)

__all__ = [
    'Candidate',
    'Engine',
    'EngineInfo',
    'EngineOptions',
    'ENGINES',
    'FallbackEngine',
    'list_candidates',
    'open_engine',
    'open_onnx',
    'Rejection',
]
