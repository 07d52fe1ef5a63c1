"""Experiments: typed sections, composed from YAML files, the environment and the command line."""

from mnssd_training.config.augmentation import AugmentationConfig
from mnssd_training.config.compose import compose
from mnssd_training.config.data import DataConfig, SourceConfig
from mnssd_training.config.experiment import Experiment, ExperimentInfo
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.config.load import load_experiment
from mnssd_training.config.loss import LossConfig
from mnssd_training.config.network import InitialConfig, InputConfig, ModelConfig, PriorsConfig
from mnssd_training.config.renamed import rename_keys
from mnssd_training.config.schema import json_schema
from mnssd_training.config.shipped import purpose, shipped_experiments
from mnssd_training.config.show import draw, one_line, origins
from mnssd_training.config.stored import expand_stored, read_stored, to_stored
from mnssd_training.config.training import (
    CheckpointConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainingConfig,
)
from mnssd_training.config.validate import problems, validate

__all__ = [
    'AugmentationConfig',
    'CheckpointConfig',
    'compose',
    'DataConfig',
    'draw',
    'EvaluationConfig',
    'expand_stored',
    'Experiment',
    'ExperimentInfo',
    'fingerprint',
    'InitialConfig',
    'InputConfig',
    'json_schema',
    'load_experiment',
    'LoggingConfig',
    'LossConfig',
    'ModelConfig',
    'one_line',
    'OptimizerConfig',
    'origins',
    'PriorsConfig',
    'problems',
    'purpose',
    'read_stored',
    'rename_keys',
    'SchedulerConfig',
    'shipped_experiments',
    'SourceConfig',
    'to_stored',
    'TrainingConfig',
    'validate',
]
