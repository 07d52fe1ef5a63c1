"""An experiment: all settings of a training run as one typed value."""

from typing import Annotated, Any

from mnssd_perception.errors import SettingsError
from mnssd_training.config import sections
from mnssd_training.config.yaml_tree import DEFAULT, Node
from pydantic import (
    model_validator,
    PrivateAttr,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)


def _reraise(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Convert the errors of perception's settings to errors of Pydantic, which adds the key."""
    try:
        return validate(value)
    except SettingsError as error:
        raise ValueError(str(error)) from error


Validated = WrapValidator(_reraise)  # for a dataclass of perception as a section


class Experiment(sections.Section):  # noqa: PLW1641 (Pydantic makes the hash)
    """All settings of a training run."""

    experiment: sections.ExperimentInfo
    data: sections.DataConfig
    input: sections.InputConfig = sections.InputConfig()
    priors: sections.PriorsConfig = sections.PriorsConfig()
    model: sections.ModelConfig = sections.ModelConfig()
    initial: sections.InitialConfig = sections.InitialConfig()
    matching: Annotated[sections.AssignmentConfig, Validated] = sections.AssignmentConfig()
    """Assignment of priors to ground truth."""
    augmentation: sections.AugmentationConfig = sections.AugmentationConfig()
    loss: sections.LossConfig = sections.LossConfig()
    optimizer: sections.OptimizerConfig = sections.OptimizerConfig()
    scheduler: sections.SchedulerConfig = sections.SchedulerConfig()
    training: sections.TrainingConfig = sections.TrainingConfig()
    qat: sections.QatConfig = sections.QatConfig()
    distillation: sections.DistillationConfig = sections.DistillationConfig()
    evaluation: sections.EvaluationConfig = sections.EvaluationConfig()
    checkpoint: sections.CheckpointConfig = sections.CheckpointConfig()
    logging: sections.LoggingConfig = sections.LoggingConfig()
    export: sections.ExportConfig = sections.ExportConfig()
    # The keys with their origins and references, as composed.
    _tree: Node = PrivateAttr(default_factory=lambda: Node({}, DEFAULT))

    @model_validator(mode='after')
    def _check_hard_negatives(self) -> 'Experiment':
        if self.augmentation.hard_negative_crop and not self.data.hard_negatives:
            raise ValueError(
                'augmentation: hard_negative_crop: expected data.hard_negatives too, a file of '
                'mnssd evaluate --hard-negatives'
            )
        return self

    @model_validator(mode='after')
    def _check_assignment(self) -> 'Experiment':
        if self.matching.method != 'tal':
            return self
        if self.loss.classification not in sections.QUALITY_LOSSES:
            raise ValueError(
                f'loss.classification: expected {" or ".join(sections.QUALITY_LOSSES)} with '
                f'matching.method tal, got {self.loss.classification}'
            )
        # What the loss is divided by is known only after the forward pass of the whole batch.
        if (num := self.training.grad_accum_steps) > 1:
            raise ValueError(
                f'training.grad_accum_steps: expected 1 with matching.method tal, got {num}'
            )
        return self

    def __eq__(self, other: object) -> bool:
        """Compare the values; their origins do not matter."""
        return isinstance(other, Experiment) and self.__dict__ == other.__dict__
