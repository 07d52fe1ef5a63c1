"""Everything that makes a training run what it is, as one typed value."""

from typing import Annotated, Any

from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd import MatchingConfig
from mnssd_training.config.augmentation import AugmentationConfig
from mnssd_training.config.data import DataConfig
from mnssd_training.config.loss import LossConfig
from mnssd_training.config.network import InitialConfig, InputConfig, ModelConfig, PriorsConfig
from mnssd_training.config.section import Section
from mnssd_training.config.training import (
    CheckpointConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainingConfig,
)
from mnssd_training.config.yaml_tree import DEFAULT, Node
from pydantic import Field, PrivateAttr, ValidatorFunctionWrapHandler, WrapValidator


def _worded(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Hand the words of the drone's own checks to Pydantic, which adds the key."""
    try:
        return check(value)
    except SettingsError as error:
        raise ValueError(str(error)) from error


class ExperimentInfo(Section):
    """What an experiment is called."""

    id: str = Field(pattern=r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')
    """Names the run folder, with the fingerprint."""
    name: str = ''
    """For people."""
    description: str = ''
    """For people."""
    author: str = ''
    """For people."""
    tags: tuple[str, ...] = ()
    """For people."""


class Experiment(Section):  # noqa: PLW1641 (Pydantic makes the hash)
    """Everything that makes a training run what it is."""

    experiment: ExperimentInfo
    """What it is called."""
    data: DataConfig
    """Which images."""
    input: InputConfig = InputConfig()
    """How images reach the network."""
    priors: PriorsConfig = PriorsConfig()
    """How priors are laid out."""
    model: ModelConfig = ModelConfig()
    """What the network is made of."""
    initial: InitialConfig = InitialConfig()
    """What the weights begin with."""
    matching: Annotated[MatchingConfig, WrapValidator(_worded)] = MatchingConfig()
    """Which prior answers for which object."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """What may happen to an image in training."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How a gradient moves the weights."""
    scheduler: SchedulerConfig = SchedulerConfig()
    """How the learning rate changes."""
    training: TrainingConfig = TrainingConfig()
    """How the network is trained."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """When and how the network is scored."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Which states of a run are kept."""
    logging: LoggingConfig = LoggingConfig()
    """Where a run tells how it goes."""
    # The keys with their origins and references, as composed.
    _tree: Node = PrivateAttr(default_factory=lambda: Node({}, DEFAULT))

    def __eq__(self, other: object) -> bool:
        """Compare the keys; it does not matter which of them came from the environment."""
        return isinstance(other, Experiment) and self.__dict__ == other.__dict__
