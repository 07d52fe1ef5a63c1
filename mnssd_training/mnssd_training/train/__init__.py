"""From an experiment to checkpoints: one plain loop."""

from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint
from mnssd_training.train.interrupt import interruptible
from mnssd_training.train.loop import train

__all__ = ['Checkpoint', 'interruptible', 'load_checkpoint', 'train']
