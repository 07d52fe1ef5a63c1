"""Engines: a network input to raw heads, on whatever hardware there is."""

from mnssd_perception.engines.engine import Engine, EngineInfo, EngineOptions
from mnssd_perception.engines.open import ENGINES, open_engine

__all__ = ['Engine', 'EngineInfo', 'EngineOptions', 'ENGINES', 'open_engine']
