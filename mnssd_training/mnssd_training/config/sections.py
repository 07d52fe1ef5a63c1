"""The sections of an experiment and their keys, each with type, default, range and description."""

from itertools import pairwise
import re
from typing import Annotated, Literal

from mnssd_perception.ssd import MatchingConfig
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass

# Upper bounds catch typing errors, which would only exhaust the memory.
Channels = Annotated[int, Field(ge=1, le=8192)]
Count = Annotated[int, Field(ge=1, le=100)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
InnerFraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Size = tuple[PositiveInt, PositiveInt]

QUALITY_LOSSES = ('quality_focal', 'varifocal')  # values of ``loss.classification``


def _check_range(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f'expected (smallest, largest), got {bounds}')
    return bounds


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names) or not all(name.strip() == name != '' for name in names):
        raise ValueError(f'expected names that differ, without blanks around, got {names}')
    return names


def _check_stages(stages: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    starts = [start for start, _ in stages]
    if starts != sorted(set(starts)):
        raise ValueError(f'expected rising fractions, got {starts}')
    return stages


def _check_patterns(patterns: dict[str, str]) -> dict[str, str]:
    for name, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f'expected regular expressions, got {pattern!r} for {name}: {error}'
            ) from error
    return patterns


def _check_artefacts(names: tuple[str, ...]) -> tuple[str, ...]:
    if 'fp32' not in names or len(set(names)) < len(names):
        raise ValueError(f'expected names that differ, with fp32 among them, got {names}')
    return names


def _check_groups(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'expected a regular expression, got {pattern!r}: {error}') from error
    if pattern and not compiled.groupindex:
        raise ValueError(f'expected a named group like (?P<time>[01]), got {pattern!r}')
    return pattern


Stages = Annotated[tuple[tuple[Fraction, PositiveFloat], ...], AfterValidator(_check_stages)]
Range = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_check_range)]
STRICT = ConfigDict(extra='forbid', use_attribute_docstrings=True, allow_inf_nan=False)


class Section(BaseModel):
    """
    A group of keys of an experiment.

    Unknown keys are errors. The docstring below a field is its description in the JSON schema.
    """

    model_config = ConfigDict(frozen=True, **STRICT)


class ExperimentInfo(Section):
    """Name and description of the experiment."""

    id: str = Field(pattern=r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')
    """Begins the name of the run folder, before the fingerprint."""
    name: str = ''
    """Free text."""
    description: str = ''
    """Free text."""
    author: str = ''
    """Free text."""
    tags: tuple[str, ...] = ()
    """Free text."""


class SourceConfig(Section):
    """One annotated dataset."""

    format: Literal['voc', 'coco', 'yolo', 'visdrone', 'shards'] = 'voc'
    """Format of the dataset."""
    root: str = Field(min_length=1, json_schema_extra={'path': True})
    """Folder of the dataset; for shards also an address, ``s3://`` or ``https://``."""
    train_split: str = 'train'
    """Image list of the training set, by name or as a path; empty for none."""
    val_split: str = 'val'
    """Image list of the validation set, by name or as a path; empty for none."""
    class_map: dict[str, str] = Field(default_factory=dict)
    """Maps class names of the dataset to those of the model. An empty name makes ignore regions;
    ``*`` stands for all names that are neither here nor in ``classes``."""
    strict_labels: bool = False
    """Refuse what is otherwise skipped and counted: class ids beyond the class list and malformed
    lines (yolo), boxes without area (yolo, coco, visdrone)."""
    use_difficult: bool = False
    """Use objects marked difficult as objects, not as ignore regions (voc)."""
    use_background: bool = True
    """Train on images without objects too. In yolo these have an empty label file or none."""


class SamplingConfig(Section):
    """How often an epoch shows each training image; its number of images stays the same."""

    repeat_threshold: Fraction = 0.0
    """Show images of rare classes more often: by the largest sqrt(threshold / f) of their classes,
    where f is the fraction of images with the class (Gupta et al., LVIS, CVPR 2019); 0 for no
    repetition."""
    groups: Annotated[str, AfterValidator(_check_groups)] = ''
    """Regular expression, searched in the name of each image, whose named groups divide the images
    by condition, such as ``^(?P<time>[01])_(?P<height>\\d+)_``, or in bands
    ``(?:(?P<low>)[67]|(?P<high>)1?[890123])0_``; empty for one group."""
    balance: Probability = 1.0
    """Share of a group: 0 for that of its images, 1 for the same for each group, and powers
    between them."""


class DataConfig(SourceConfig):
    """The images of an experiment: one dataset, or several with a joint class list."""

    classes: Annotated[tuple[str, ...], AfterValidator(_check_names)] = ()
    """Class names in the order of their labels; empty to use those of the datasets."""
    extra_sources: tuple[SourceConfig, ...] = ()
    """Further datasets, used together with this one for training and validation."""
    sampling: SamplingConfig = SamplingConfig()
    """Balance of classes and conditions in training."""
    hard_negatives: str = Field(default='', json_schema_extra={'path': True})
    """False positives in training images, written by ``mnssd evaluate --hard-negatives``, for
    ``augmentation.hard_negative_crop``; empty for none."""
    cache_dir: str = Field(default='', json_schema_extra={'path': True})
    """Folder that caches remote shards; empty to stream them in each epoch."""


class InputConfig(Section):
    """Input of the network."""

    size: Size = (300, 300)
    """(height, width), pixels."""
    resize: Literal['stretch', 'letterbox'] = 'stretch'
    """How images are resized to ``size``."""
    train_size: Size | None = None
    """(height, width) of the network input in training, pixels: crops at the scale of ``size``,
    which cost less; null for ``size``."""


class PriorsConfig(Section):
    """Prior boxes (anchors)."""

    layout: Literal['clustered', 'original', 'finetune', 'ssdlite'] = 'clustered'
    """``clustered`` computes sizes from the training boxes; the others are published layouts."""
    strides: tuple[PositiveInt, ...] = (8, 16, 32, 64)
    """Stride of each feature map, for ``clustered``."""
    priors_per_cell: tuple[Count, ...] = (5, 4, 3, 3)
    """Priors per cell of each feature map, for ``clustered``."""
    variances: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.2)
    """(centre, size) divisors of the box coding."""
    seed: NonNegativeInt | None = None
    """Seed of the clusters of ``clustered``; null for ``training.seed``. Runs of several seeds
    that are averaged afterwards need the same."""

    @model_validator(mode='after')
    def _check(self) -> 'PriorsConfig':
        if not self.strides or len(self.strides) != len(self.priors_per_cell):
            raise ValueError(
                f'priors_per_cell: expected a number for each of the strides {self.strides}, '
                f'got {self.priors_per_cell}'
            )
        if any(low >= high for low, high in pairwise(self.strides)):
            raise ValueError(f'strides: expected each larger than the last, got {self.strides}')
        return self


class ModelConfig(Section):
    """Architecture of the network, besides its input, classes and priors."""

    backbone: str = 'mobilenet_v2'
    """``mobilenet_v2``, or ``timm/NAME`` for a backbone of timm with feature maps."""
    width_mult: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Width multiplier of ``mobilenet_v2``."""
    feature_location: Literal['expansion', 'block'] = 'expansion'
    """Layer of ``mobilenet_v2`` that gives a feature map: the expansion of the next block with
    stride 2, or the output of a block."""
    pyramid: Literal['fpn', 'lateral', 'plain'] = 'fpn'
    """``fpn`` adds coarse features to fine ones; ``lateral`` only brings them to the same number
    of channels; ``plain`` uses them unchanged and adds levels as in ``extra_layers``."""
    pyramid_channels: Channels = 128
    """Channels of the feature maps of ``fpn`` and ``lateral``."""
    extra_channels: tuple[Channels, ...] = (512, 256, 256)
    """Channels of the levels beyond the backbone, for ``pyramid: plain``."""
    extra_layers: Literal['plain', 'squeezed', 'depthwise'] = 'squeezed'
    """Layers that make each of these levels from the one before: a 3 x 3 convolution, a 1 x 1 and
    a 3 x 3 convolution, or the depthwise variant of the latter (SSDLite)."""
    head: Literal['depthwise', 'ssdlite', 'plain'] = 'depthwise'
    """Predicts by a 1 x 1 convolution after a depthwise separable one, by a 1 x 1 convolution
    after a depthwise one, or by a 3 x 3 convolution."""
    head_channels: Annotated[int, Field(ge=0, le=8192)] = 0
    """Channels of an additional 3 x 3 convolution in ``head: plain``; 0 for none."""
    shared_head: bool = False
    """Share the weights of the head between levels; needs the same number of priors per cell."""
    frozen_blocks: NonNegativeInt = 0
    """Number of blocks of the backbone, from the first, that are not trained."""
    frozen_norm: bool = False
    """Freeze statistics and weights of the backbone's normalization layers."""

    @model_validator(mode='after')
    def _check(self) -> 'ModelConfig':
        is_mobilenet = self.backbone == 'mobilenet_v2'
        if not is_mobilenet and not re.fullmatch(r'timm/\S+', self.backbone):
            raise ValueError(
                f'backbone: expected mobilenet_v2 or timm/NAME, got {self.backbone!r}'
            )
        if not is_mobilenet and (self.width_mult != 1 or self.feature_location != 'expansion'):
            raise ValueError(
                'width_mult, feature_location: expected with backbone mobilenet_v2 only'
            )
        if self.head_channels and self.head != 'plain':
            raise ValueError('head_channels: expected with head plain only')
        if self.shared_head and self.pyramid == 'plain':
            raise ValueError('shared_head: expected with pyramid fpn or lateral, got plain')
        return self


class InitialConfig(Section):
    """Initial weights."""

    backbone_weights: str = Field(default='', json_schema_extra={'path': True})
    """``imagenet`` for the weights that torchvision or timm downloads, the path of a state dict,
    or empty for random weights."""
    checkpoint: str = Field(default='', json_schema_extra={'path': True})
    """Checkpoint to fine-tune, a path or ``s3://``, or the path of a bundle, such as the shipped
    one; empty for none. Layers of other shapes start with random weights."""
    recalibrate_norm: bool = False
    """Measure the statistics of the backbone's normalization layers on training images before the
    first step, also of frozen ones (Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021)."""


class AugmentationConfig(Section):
    """Data augmentation; the random numbers of a sample depend on run, epoch and sample only."""

    zoom_out: Probability = 0.5
    """Probability of placing the image on a larger canvas."""
    zoom_out_max_scale: Annotated[float, Field(ge=1)] = 4.0
    """Largest side of that canvas, in sides of the image."""
    iou_crop: Probability = 0.8
    """Probability of an IoU crop (Liu et al., SSD, section 2.2)."""
    iou_crop_min_scale: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Smallest side of a crop, in sides of the image."""
    iou_crop_min_ious: tuple[NonNegativeFloat, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    """A crop needs this IoU with some object, drawn from this list; 1 or more means no crop."""
    large_scale_jitter: Probability = 0.0
    """Probability of large-scale jitter with a fixed crop, instead of zoom-out and IoU crop."""
    large_scale_jitter_range: Range = (0.1, 2.0)
    """Smallest and largest scale of the jitter; 1 is the scale at inference."""
    large_scale_jitter_max_aspect: Annotated[float, Field(ge=1)] = 1.0
    """Largest change of the aspect ratio in the jitter."""
    hard_negative_crop: Probability = 0.0
    """Probability that large-scale jitter is around one of ``data.hard_negatives``, in images that
    have some."""
    mosaic: Probability = 0.0
    """Probability of four images in one (Bochkovskiy et al., YOLOv4, 2020)."""
    mixup: Probability = 0.0
    """Probability of blending with another image (Zhang et al., mixup, ICLR 2018)."""
    copy_paste: Probability = 0.0
    """Probability of pasting small objects of another image of the same ``data.sampling.groups``
    (Kisantal et al., Augmentation for small object detection, 2019)."""
    copy_paste_max_objects: Count = 4
    """Largest number of them."""
    copy_paste_max_size: PositiveFloat = 48.0
    """Largest size of them, root of the area, pixels of the image."""
    horizontal_flip: Probability = 0.5
    """Probability."""
    vertical_flip: Probability = 0.0
    """Probability; 0.5 suits a camera that looks down."""
    brightness: Probability = 0.125
    """Largest relative change."""
    contrast: Probability = 0.5
    """Largest relative change."""
    saturation: Probability = 0.5
    """Largest relative change; 0 for grey cameras."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Largest shift, in turns; 0 for grey cameras."""
    invert: Probability = 0.0
    """Probability of inverting the image: in thermal images objects are warmer than the ground by
    night and cooler by day."""
    equalize: Probability = 0.0
    """Probability of equalizing the histogram."""
    gamma: Annotated[float, Field(ge=1)] = 1.0
    """Largest exponent of a gamma correction; the smallest is its inverse."""
    object_tone: Probability = 0.0
    """Probability of changing the contrast of each object against the ring around its box, which
    keeps the polarity."""
    object_tone_range: Range = (0.5, 1.5)
    """Smallest and largest factor of that contrast."""
    blur: NonNegativeFloat = 0.0
    """Largest standard deviation of a Gaussian blur, pixels of the network input."""
    noise: NonNegativeFloat = 0.0
    """Largest standard deviation of sensor noise, of 255 levels; equal in all channels."""
    min_box_size: Annotated[float, Field(ge=0)] = 1.0
    """A box with a side below this becomes an ignore region, pixels of the network input."""
    min_visibility: Annotated[float, Field(gt=0, le=1)] = 0.4
    """An object of which a smaller part remains visible becomes an ignore region."""


@dataclass(frozen=True, config=STRICT)
class AssignmentConfig(MatchingConfig):
    """Assignment of priors to ground truth; the thresholds of IoU are those of ``iou``."""

    method: Literal['iou', 'atss', 'tal'] = 'iou'
    """``iou`` matches by thresholds; ``atss`` (Zhang et al., Bridging the Gap Between Anchor-based
    and Anchor-free Detection, CVPR 2020) finds a threshold for each object, among the priors that
    are closest to its centre; ``tal`` (Feng et al., TOOD, ICCV 2021) chooses the priors that
    predict an object best, and needs ``loss.classification`` quality_focal or varifocal."""
    atss_candidates: Count = 9
    """Cells of each level, the closest to the centre of an object, whose priors ``atss``
    considers."""
    tal_topk: Count = 13
    """Priors that ``tal`` assigns to an object, at most."""
    tal_alpha: NonNegativeFloat = 1.0
    """Exponent of the score in the alignment of a prediction, score^alpha * IoU^beta."""
    tal_beta: NonNegativeFloat = 6.0
    """Exponent of the IoU in the alignment of a prediction."""


class LossConfig(Section):
    """Loss function."""

    classification: Literal['softmax', 'focal', 'quality_focal', 'varifocal'] = 'softmax'
    """``softmax`` with hard negative mining, or over all priors: sigmoid ``focal``, or with the
    IoU of box and object as the target, so that scores tell how well boxes fit, ``quality_focal``
    (Li et al., NeurIPS 2020) or ``varifocal`` (Zhang et al., CVPR 2021)."""
    localization: Literal['smooth_l1', 'l1', 'giou', 'diou', 'ciou'] = 'smooth_l1'
    """On offsets (``smooth_l1``, ``l1``) or on decoded boxes."""
    neg_pos_ratio: NonNegativeFloat = 3.0
    """Hard negatives per positive of an image."""
    min_negatives: NonNegativeInt = 16
    """Smallest number of hard negatives of an image, also without positives."""
    focal_alpha: InnerFraction = 0.25
    """Weight of positives; negatives have 1 - alpha (Lin et al., ICCV 2017), also in
    ``varifocal``."""
    focal_gamma: NonNegativeFloat = 2.0
    """Focusing parameter, which reduces the weight of easy priors; in ``quality_focal``, 0 is
    binary cross-entropy."""
    label_smoothing: Fraction = 0.0
    """Part of the target that is spread over all classes, in ``softmax`` and ``focal``."""
    class_weights: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Weights of the positives of classes; 1 for classes that are not named."""
    localization_weight: NonNegativeFloat = 1.0
    """Weight of the localization loss; the classification loss has 1."""
    smooth_l1_beta: NonNegativeFloat = 1.0
    """Offset at which smooth L1 changes from quadratic to linear."""

    @model_validator(mode='after')
    def _check(self) -> 'LossConfig':
        if self.label_smoothing and self.classification in QUALITY_LOSSES:
            raise ValueError(
                f'label_smoothing: expected 0 with classification {self.classification}, whose '
                f'targets are qualities, got {self.label_smoothing}'
            )
        return self


class OptimizerConfig(Section):
    """Optimizer."""

    name: Literal['adamw', 'sgd'] = 'adamw'
    """Algorithm."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate after the warm-up."""
    weight_decay: NonNegativeFloat = 0.02
    """Weight decay of convolutions; biases and normalization have none."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Betas of AdamW."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov momentum of SGD."""
    backbone_lr_factor: NonNegativeFloat = 0.3
    """Factor of the learning rate of a pretrained backbone."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Further factor for each block of the backbone, from the last to the first."""
    clip_grad_norm: NonNegativeFloat = 10.0
    """Largest norm of the gradient; 0 for no limit."""


class SchedulerConfig(Section):
    """Learning rate schedule."""

    name: Literal['cosine', 'step', 'multistep', 'onecycle', 'constant'] = 'cosine'
    """Schedule after the warm-up."""
    warmup_steps: NonNegativeInt = 200
    """Steps of linear warm-up; fewer in a run that is shorter."""
    final_lr_factor: NonNegativeFloat = 0.01
    """Factor of the learning rate at the end of ``cosine`` and ``onecycle``."""
    step_epochs: PositiveInt = 20
    """Epochs between two drops, for ``step``."""
    milestones: tuple[InnerFraction, ...] = (0.9, 0.95)
    """Fractions of the run at which the rate drops, for ``multistep``."""
    gamma: InnerFraction = 0.1
    """Factor of a drop, for ``step`` and ``multistep``."""
    pct_start: InnerFraction = 0.3
    """Fraction of the run in which the rate rises, for ``onecycle``, which has no warm-up."""


class TrainingConfig(Section):
    """Training loop, precision and devices."""

    epochs: PositiveInt = 50
    """Passes over the training set."""
    batch_size: PositiveInt = 16
    """Images per step, on all devices together."""
    grad_accum_steps: PositiveInt = 1
    """Parts into which each batch is split to save memory; their gradients are accumulated."""
    precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32'
    """Precision of convolutions; weights and losses are float32."""
    ema_decay: Fraction = 0.999
    """Decay of the averaged weights, which are evaluated and exported; 0 for no average."""
    ema_warmup: PositiveInt = 10
    """The decay rises as (1 + n) / (ema_warmup + n) in step n, up to ``ema_decay``."""
    multi_scale: Range = (1.0, 1.0)
    """Smallest and largest input of a batch, in sides of the training input, drawn per batch."""
    progressive_resizing: Stages = ()
    """(fraction of the run, input from then on in sides of the training input), in rising order.
    Inputs other than the training input itself are multiples of 32 pixels."""
    early_stopping_patience: NonNegativeInt = 0
    """Evaluations without improvement that end the run; 0 for no early stopping."""
    gradient_checkpointing: bool = False
    """Recompute the activations of the backbone to save memory."""
    compile: bool = False
    """Use ``torch.compile``."""
    channels_last: bool = True
    """Use the channels-last memory format."""
    deterministic: bool = False
    """Use deterministic algorithms only; slower on a GPU."""
    seed: NonNegativeInt = 1337
    """Seed of all random numbers."""
    workers: NonNegativeInt = 2
    """Worker processes that load images, per device."""
    image_cache_gib: NonNegativeFloat = 0.0
    """Memory for training images that are decoded once, before the first step, GiB per device; a
    grey pixel takes one byte. 0 decodes each image whenever it is needed."""
    accelerator: Literal['auto', 'cpu', 'gpu'] = 'auto'
    """``auto`` uses GPUs where available."""
    devices: NonNegativeInt = 0
    """Devices per machine; 0 for all GPUs or one CPU process."""
    nodes: PositiveInt = 1
    """Number of machines."""


class QatConfig(Section):
    """Quantization-aware training, for a network that loses too much in INT8."""

    enabled: bool = False
    """Train, evaluate and choose ``best.pt`` with rounding as in INT8. The weights of checkpoints
    stay float32, and ``mnssd export`` quantizes them as any others."""
    frozen_norm_from: Probability = 0.0
    """Fraction of the run from which all normalization layers keep their statistics; 0 suits the
    fine-tuning of ``initial.checkpoint``, more a run that begins with random weights."""
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    """Bits of a weight; 7 for processors that need ``reduce_range``."""
    averaging: InnerFraction = 0.01
    """Share of a batch in the moving averages of the ranges of activations."""


class DistillationConfig(Section):
    """Distillation from trained teachers, which ``mnssd train --teacher`` names."""

    teachers: tuple[str, ...] = Field(default=(), json_schema_extra={'path': True})
    """Checkpoints, paths or ``s3://``, or paths of bundles; the outputs of several are averaged.
    They may have another backbone, width and pyramid."""
    logit_weight: NonNegativeFloat = 1.0
    """Weight of the logits (Hinton et al., Distilling the Knowledge in a Neural Network, 2015), by
    foreground score; needs a teacher of the same classes and similar priors."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Temperature that softens the scores."""
    box_weight: NonNegativeFloat = 1.0
    """Weight of the offsets of confident priors; of such a teacher."""
    min_score: Probability = 0.3
    """Smallest foreground score of a confident prior."""
    feature_weight: NonNegativeFloat = 0.0
    """Weight of the feature maps (Shu et al., Channel-wise Knowledge Distillation, ICCV 2021)."""

    @model_validator(mode='after')
    def _check(self) -> 'DistillationConfig':
        if self.teachers and not (self.logit_weight or self.box_weight or self.feature_weight):
            raise ValueError(
                'teachers: expected logit_weight, box_weight or feature_weight above 0'
            )
        return self


class EvaluationConfig(Section):
    """Evaluation during training."""

    every_epochs: PositiveInt = 5
    """Epochs between evaluations; the last epoch is always evaluated."""
    monitor: Literal['map50', 'ap'] = 'map50'
    """Metric that selects ``best.pt`` and stops a run early: mean VOC AP@0.5 or COCO AP."""
    groups: Annotated[dict[str, str], AfterValidator(_check_patterns)] = Field(
        default_factory=dict
    )
    """Scores of parts of the validation set as well, such as day and night: the name of each part,
    and a regular expression that is searched for in the names of its images."""


class CheckpointConfig(Section):
    """Checkpoints."""

    every_steps: NonNegativeInt = 0
    """Steps between checkpoints within an epoch; 0 for the end of the epoch only."""
    every_epochs: PositiveInt = 1
    """Epochs between checkpoints at the end of an epoch; evaluated ones and the last have one."""
    keep_last: PositiveInt = 2
    """Number of newest checkpoints to keep, besides the best."""


class LoggingConfig(Section):
    """Loggers, besides ``metrics.jsonl``."""

    root: str = Field(default='runs', json_schema_extra={'path': True})
    """Folder of all runs."""
    every_steps: PositiveInt = 50
    """Steps between log entries."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    images: NonNegativeInt = 4
    """Validation images with detections in TensorBoard at each evaluation."""
    mlflow: str = ''
    """Tracking URI of an MLflow server or folder; empty for none. Needs mlflow."""
    wandb: str = ''
    """Project of Weights & Biases; empty for none. Needs wandb."""


class GateConfig(Section):
    """Limits of the accuracy gate: each artefact of a bundle is compared with the checkpoint."""

    min_map50: Probability = 0.05
    """Smallest mean VOC AP@0.5 on the validation set; a network that was not trained has less."""
    max_drop_fp16: NonNegativeFloat = 0.1
    """Largest loss of mean AP@0.5 of a network in fp32, fp16 or bf16, points (hundredths)."""
    max_drop_int8: NonNegativeFloat = 1.0
    """Largest loss of mean AP@0.5 of a network in int8, points (hundredths)."""
    max_changed_fp16: Probability = 0.02
    """Share of the clear detections that may change in fp16 or bf16. In fp32 none may."""
    max_changed_int8: Probability = 0.15
    """Share of the clear detections that may change in int8."""


class QuantizationConfig(Section):
    """INT8 quantization after training."""

    calibration_images: str = Field(default='', json_schema_extra={'path': True})
    """Folder of calibration images; empty to choose them from the training set."""
    num_calibration: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Number of calibration images, where they are chosen."""
    method: Literal['MinMax', 'Percentile'] = 'MinMax'
    """How ranges of activations are chosen for CPUs; ``Percentile`` cuts outliers off, and needs
    memory for all activations of all images."""
    reduce_range: bool = False
    """Weights of 7 bits in ``int8``, for x86 processors without VNNI, whose sums saturate."""
    max_excluded: Annotated[int, Field(ge=0, le=1000)] = 8
    """Largest number of layers, the most sensitive first, that stay in float until the gate
    passes."""


class HailoConfig(Section):
    """Compilation for Hailo chips."""

    arch: Literal['hailo8', 'hailo8l', 'hailo10h', 'hailo15h'] = 'hailo8l'
    """Chip."""


ArtefactName = Literal['fp32', 'batch', 'fp16', 'int8', 'int8_tensorrt', 'hailo']


class ExportConfig(Section):
    """What a bundle holds, and what ``mnssd export`` demands of it."""

    artefacts: Annotated[
        tuple[ArtefactName, ...], Field(min_length=1), AfterValidator(_check_artefacts)
    ] = ('fp32', 'fp16', 'int8', 'int8_tensorrt')
    """Networks to make: ``fp32``, ``batch`` (fp32 for any number of images at once), ``fp16`` (for
    TensorRT), ``int8`` (for CPUs), ``int8_tensorrt`` and ``hailo``."""
    gate: GateConfig = GateConfig()
    """Accuracy gate."""
    quantization: QuantizationConfig = QuantizationConfig()
    """How ``int8``, ``int8_tensorrt`` and ``hailo`` are calibrated."""
    hailo: HailoConfig = HailoConfig()
    """How ``hailo`` is compiled."""
