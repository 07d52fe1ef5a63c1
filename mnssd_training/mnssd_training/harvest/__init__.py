"""Recordings to new datasets: frames that differ, first labels, and where they are from."""

from mnssd_training.harvest.frames import Choice, choose_frames, Counts, Frame, split_by_time
from mnssd_training.harvest.write import LabelledFrame, write_dataset

__all__ = [
    'Choice',
    'choose_frames',
    'Counts',
    'Frame',
    'LabelledFrame',
    'split_by_time',
    'write_dataset',
]
