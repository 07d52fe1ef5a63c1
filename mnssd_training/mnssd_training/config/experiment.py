"""YAML experiment files and ``key.path=value`` overrides to one typed value."""

from collections.abc import Sequence
from dataclasses import dataclass
import math
from pathlib import Path
import re
from typing import Any, Literal

from mnssd_perception.plain import from_plain
from mnssd_perception.ssd import Matching
from mnssd_training.data.transforms import Augmentation
from mnssd_training.errors import ConfigError
from mnssd_training.loss import LossConfig
from mnssd_training.model import ModelConfig
import yaml

__all__ = [
    'DataConfig',
    'Experiment',
    'InputConfig',
    'load_experiment',
    'PriorsConfig',
    'shipped_experiments',
    'TrainingConfig',
]

FOLDER = Path(__file__).parent / 'experiments'


@dataclass(frozen=True)
class DataConfig:
    """
    Which photographs.

    :ivar root: folder of the data set, PASCAL VOC layout.
    :ivar train_split: list to train on.
    :ivar val_split: list to score on.
    """

    root: str
    train_split: str = 'train'
    val_split: str = 'val'


@dataclass(frozen=True)
class InputConfig:
    """
    How photographs reach the network.

    :ivar size: (height, width), pixels.
    :ivar resize: how they are brought to that size.
    """

    size: tuple[int, int] = (300, 300)
    resize: Literal['stretch', 'letterbox'] = 'stretch'


@dataclass(frozen=True)
class PriorsConfig:
    """
    How priors are laid out.

    :ivar layout: ``clustered`` takes sizes from the training boxes; ``original`` and ``finetune``
        are the layouts of the systems that mnssd succeeds, six levels.
    :ivar strides: of the levels, for ``clustered``.
    :ivar a_cell: priors a cell of each level, for ``clustered``.
    """

    layout: Literal['clustered', 'original', 'finetune'] = 'clustered'
    strides: tuple[int, ...] = (8, 16, 32, 64)
    a_cell: tuple[int, ...] = (5, 4, 3, 3)

    def __post_init__(self) -> None:
        """Refuse levels that are none."""
        if len(self.strides) != len(self.a_cell):
            raise ConfigError(
                f'priors.a_cell: expected a number for each of the strides {self.strides}, '
                f'got {self.a_cell}'
            )
        for name in ('strides', 'a_cell'):
            if min(getattr(self, name), default=0) < 1:
                raise ConfigError(f'priors.{name}: expected at least 1, got {getattr(self, name)}')


@dataclass(frozen=True)
class TrainingConfig:
    """
    How the network is trained.

    :ivar epochs: passes over the training set.
    :ivar batch_size: photographs a step.
    :ivar learning_rate: of AdamW, at the end of the warm-up.
    :ivar backbone_factor: times the learning rate, for the pretrained layers.
    :ivar weight_decay: of AdamW, on convolution weights only.
    :ivar warmup_steps: of linear rise.
    :ivar final_factor: of the learning rate at the end of the cosine.
    :ivar clip_norm: largest norm of the gradient.
    :ivar ema_decay: of the weights that are scored and exported.
    :ivar precision: ``bf16`` computes convolutions in bfloat16.
    :ivar evaluate_every: epochs between scores; the last is always scored.
    :ivar save_every: steps between checkpoints within an epoch; 0 for none.
    :ivar workers: processes that load photographs.
    :ivar seed: of everything random.
    :ivar device: ``auto`` takes a GPU where there is one.
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 1e-3
    backbone_factor: float = 0.3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    final_factor: float = 0.01
    clip_norm: float = 10.0
    ema_decay: float = 0.999
    precision: Literal['fp32', 'bf16'] = 'fp32'
    evaluate_every: int = 5
    save_every: int = 0
    workers: int = 2
    seed: int = 1337
    device: str = 'auto'

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ('epochs', 'batch_size', 'evaluate_every'):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f'training.{name}: expected at least 1, got {getattr(self, name)}'
                )
        for name in ('warmup_steps', 'save_every', 'workers'):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f'training.{name}: expected at least 0, got {getattr(self, name)}'
                )
        for name in ('learning_rate', 'clip_norm'):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f'training.{name}: expected more than 0, got {getattr(self, name)}'
                )
        for name in ('backbone_factor', 'weight_decay', 'final_factor'):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f'training.{name}: expected at least 0, got {getattr(self, name)}'
                )
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(
                f'training.ema_decay: expected at least 0 and less than 1, got {self.ema_decay}'
            )


@dataclass(frozen=True)
class Experiment:
    """
    Everything that makes a training run what it is.

    :ivar name: of the run and of the bundle that comes of it.
    :ivar data: which photographs.
    :ivar backbone_weights: ``imagenet`` for those that torchvision downloads, the path of such a
        state dict, or empty for none.
    :ivar initial_checkpoint: path of a checkpoint of the same network to fine-tune, or empty.
    :ivar input: how photographs reach the network.
    :ivar priors: how priors are laid out.
    :ivar model: what the network is made of.
    :ivar matching: which prior answers for which object.
    :ivar augmentation: what may happen to a photograph in training.
    :ivar loss: the weights of the loss.
    :ivar training: how the network is trained.
    """

    name: str
    data: DataConfig
    backbone_weights: str = ''
    initial_checkpoint: str = ''
    input: InputConfig = InputConfig()
    priors: PriorsConfig = PriorsConfig()
    model: ModelConfig = ModelConfig()
    matching: Matching = Matching()
    augmentation: Augmentation = Augmentation()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()


def shipped_experiments() -> tuple[str, ...]:
    """List the experiments that come with mnssd."""
    return tuple(sorted(path.stem for path in FOLDER.glob('*.yaml')))


def load_experiment(source: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """
    Read an experiment.

    :param source: a YAML file, or the name of a shipped experiment.
    :param overrides: ``key.path=value``, the value in YAML.
    :return: the experiment.
    :raises ConfigError: naming the file or the key.
    """
    path = Path(source)
    if not path.suffix and str(source) in shipped_experiments():
        path = FOLDER / f'{source}.yaml'
    try:
        plain = _yaml(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(
            f'{path}: no such experiment; shipped are {", ".join(shipped_experiments())}'
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'{path}: not a YAML file: {error}') from error
    for override in overrides:
        _apply(plain, override)
    return from_plain(Experiment, plain, lambda reason: ConfigError(f'{path}: {reason}'))


class _Loader(yaml.SafeLoader):
    """PyYAML, but 1e-3 is a number, as it is in YAML 1.2, and not a word."""


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?[0-9]+[eE][-+]?[0-9]+$'), list('-+0123456789')
)


def _yaml(text: str) -> Any:
    """Read YAML."""
    return yaml.load(text, _Loader)


def _apply(plain: Any, override: str) -> None:
    """Set one key of nested dicts."""
    key, equals, text = override.partition('=')
    if not equals or not key:
        raise ConfigError(f'expected key.path=value, got {override!r}')
    try:
        value = _yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'{key}: not a YAML value: {text!r}') from error
    *parents, last = key.split('.')
    for parent in parents:
        plain = plain.setdefault(parent, {}) if isinstance(plain, dict) else None
    if not isinstance(plain, dict):
        raise ConfigError(f'{key}: there is no such key')
    plain[last] = value
