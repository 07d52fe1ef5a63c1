"""Inference engines, which run a network on the hardware at hand."""

from mnssd_perception.engines.engine import Engine, EngineInfo, EngineOptions
from mnssd_perception.engines.open import ENGINES, open_engine, open_onnx

__all__ = ['Engine', 'EngineInfo', 'EngineOptions', 'ENGINES', 'open_engine', 'open_onnx']
