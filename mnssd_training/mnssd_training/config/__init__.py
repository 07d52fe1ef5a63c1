"""Typed experiments, composed from YAML files, the environment and the command line."""

from mnssd_training.config.compose import (
    compose,
    load_experiment,
    shipped_experiments,
    summarize_experiment,
)
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.config.renamed import rename_keys
from mnssd_training.config.schema import json_schema
from mnssd_training.config.sections import (
    ArtefactName,
    AssignmentConfig,
    AugmentationConfig,
    DataConfig,
    ExportConfig,
    GateConfig,
    InputConfig,
    LossConfig,
    ModelConfig,
    PriorsConfig,
    QuantizationConfig,
    SamplingConfig,
    SchedulerConfig,
    SourceConfig,
    TrainingConfig,
)
from mnssd_training.config.show import find_origins, format_experiment, format_flow
from mnssd_training.config.stored import expand_stored, read_stored, to_stored
from mnssd_training.config.validate import InvalidExperimentError, validate

__all__ = [
    'ArtefactName',
    'AssignmentConfig',
    'AugmentationConfig',
    'compose',
    'DataConfig',
    'expand_stored',
    'Experiment',
    'ExportConfig',
    'find_origins',
    'fingerprint',
    'format_experiment',
    'format_flow',
    'GateConfig',
    'InputConfig',
    'InvalidExperimentError',
    'json_schema',
    'load_experiment',
    'LossConfig',
    'ModelConfig',
    'PriorsConfig',
    'QuantizationConfig',
    'read_stored',
    'rename_keys',
    'SamplingConfig',
    'SchedulerConfig',
    'shipped_experiments',
    'SourceConfig',
    'summarize_experiment',
    'to_stored',
    'TrainingConfig',
    'validate',
]
