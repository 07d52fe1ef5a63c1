"""Train networks: run folders, checkpoints and one plain loop."""

from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint
from mnssd_training.train.distributed import is_rank_zero
from mnssd_training.train.interrupt import handle_signals, Preempted, StopRequest
from mnssd_training.train.loop import train
from mnssd_training.train.run_folder import default_folder, RunFolder

__all__ = [
    'Checkpoint',
    'default_folder',
    'handle_signals',
    'is_rank_zero',
    'load_checkpoint',
    'Preempted',
    'RunFolder',
    'StopRequest',
    'train',
]
