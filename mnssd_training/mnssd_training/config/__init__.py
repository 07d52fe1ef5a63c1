"""Experiments: typed, read from YAML, changed from the command line."""

from mnssd_training.config.experiment import (
    DataConfig,
    Experiment,
    InputConfig,
    load_experiment,
    PriorsConfig,
    shipped_experiments,
    TrainingConfig,
)

__all__ = [
    'DataConfig',
    'Experiment',
    'InputConfig',
    'load_experiment',
    'PriorsConfig',
    'shipped_experiments',
    'TrainingConfig',
]
