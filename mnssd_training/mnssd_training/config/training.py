"""Keys of ``optimizer``, ``scheduler``, ``training``, ``evaluation`` and what a run leaves."""

from typing import Annotated, Literal

from mnssd_training.config.section import Section
from pydantic import (
    Field,
    model_validator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Section):
    """How a gradient moves the weights."""

    name: Literal['adamw', 'sgd'] = 'adamw'
    """Which rule."""
    learning_rate: PositiveFloat = 1e-3
    """At the end of the warm-up."""
    weight_decay: NonNegativeFloat = 0.02
    """On convolution weights only, not on biases and normalisation."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Of AdamW."""
    momentum: Fraction = 0.9
    """Of SGD."""
    nesterov: bool = False
    """Nesterov's momentum, for SGD."""
    backbone_lr_factor: NonNegativeFloat = 0.3
    """Times the learning rate, for the backbone when it begins with trained weights."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Times the learning rate once more for each block of the backbone, from the last to the
    first."""
    clip_grad_norm: NonNegativeFloat = 10.0
    """Largest norm of the gradient; 0 for no limit."""


class SchedulerConfig(Section):
    """How the learning rate changes."""

    name: Literal['cosine', 'step', 'multistep', 'onecycle', 'constant'] = 'cosine'
    """Which curve, after the warm-up."""
    warmup_steps: NonNegativeInt = 200
    """Of linear rise; fewer in a run that is shorter."""
    final_lr_factor: NonNegativeFloat = 0.01
    """Of the learning rate at the end of ``cosine`` and ``onecycle``."""
    step_epochs: PositiveInt = 20
    """Epochs between two drops, for ``step``."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.9, 0.95)
    """Parts of the run at which the rate drops, for ``multistep``."""
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of a drop, for ``step`` and ``multistep``."""
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Part of the run in which the rate rises, for ``onecycle``, which has no other warm-up."""


class TrainingConfig(Section):
    """How the network is trained."""

    epochs: PositiveInt = 50
    """Passes over the training set."""
    batch_size: PositiveInt = 16
    """Images a step, on all devices together."""
    grad_accum_steps: PositiveInt = 1
    """Parts that the images of a step are seen in, one after the other, to save memory."""
    precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32'
    """What convolutions compute in; weights and losses are float32."""
    ema_decay: Fraction = 0.999
    """Of the averaged weights, which are scored and exported; 0 for none."""
    ema_warmup: PositiveInt = 10
    """The average follows as (1 + n) / (this + n) until it reaches the decay."""
    multi_scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Smallest and largest input of a batch, in sides of the training input, drawn for each."""
    progressive_resizing: tuple[tuple[Fraction, PositiveFloat], ...] = ()
    """Progressive resizing: (part of the run done, input in sides of the training input), rising
    in the part. Inputs other than the training input itself are multiples of 32 pixels."""
    early_stopping_patience: NonNegativeInt = 0
    """Evaluations without a better score that end the run; 0 for never."""
    gradient_checkpointing: bool = False
    """Compute the backbone's activations twice, to keep fewer."""
    compile: bool = False
    """``torch.compile``."""
    channels_last: bool = True
    """Memory order of the convolutions."""
    deterministic: bool = False
    """Only operations that give the same bits each time; slower on a GPU."""
    seed: NonNegativeInt = 1337
    """Of everything random."""
    workers: NonNegativeInt = 2
    """Processes that load images, for each device."""
    accelerator: Literal['auto', 'cpu', 'gpu'] = 'auto'
    """``auto`` takes GPUs where there are any."""
    devices: NonNegativeInt = 0
    """Devices of each machine; 0 for all, or for one CPU process."""
    nodes: PositiveInt = 1
    """Machines."""

    @model_validator(mode='after')
    def _rise(self) -> 'TrainingConfig':
        """Refuse ranges that fall."""
        if self.multi_scale[0] > self.multi_scale[1]:
            raise ValueError(f'multi_scale: expected (smallest, largest), got {self.multi_scale}')
        parts = [part for part, _ in self.progressive_resizing]
        if parts != sorted(set(parts)):
            raise ValueError(
                f'progressive_resizing: expected parts of the run that rise, got {parts}'
            )
        return self


class EvaluationConfig(Section):
    """When and how the network is scored during training."""

    every_epochs: PositiveInt = 5
    """Epochs between scores; the last epoch is always scored."""
    monitor: Literal['map50', 'ap'] = 'map50'
    """Metric that selects ``best.pt`` and stops a run early: mean VOC AP@0.5 or COCO AP."""


class CheckpointConfig(Section):
    """Which states of a run are kept."""

    every_steps: NonNegativeInt = 0
    """Steps between checkpoints within an epoch; 0 for only at its end."""
    keep_last: PositiveInt = 2
    """Newest checkpoints that are kept, beside the best."""


class LoggingConfig(Section):
    """Where a run tells how it goes, beside ``metrics.jsonl``."""

    root: str = Field(default='runs', json_schema_extra={'path': True})
    """Folder of all runs."""
    every_steps: PositiveInt = 50
    """Steps between two rows of numbers."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    images: NonNegativeInt = 4
    """Validation images with detections in TensorBoard, at each evaluation."""
    mlflow: str = ''
    """Tracking URI of an MLflow server or folder; empty for none. Needs mlflow."""
    wandb: str = ''
    """Project of Weights & Biases; empty for none. Needs wandb."""
