"""From an experiment to checkpoints: one plain loop."""

from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint
from mnssd_training.train.devices import is_rank_zero
from mnssd_training.train.interrupt import interruptible, Preempted, Stop
from mnssd_training.train.loop import train
from mnssd_training.train.run import default_folder, RunFolder

__all__ = [
    'Checkpoint',
    'default_folder',
    'interruptible',
    'is_rank_zero',
    'load_checkpoint',
    'Preempted',
    'RunFolder',
    'Stop',
    'train',
]
