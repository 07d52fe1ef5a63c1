"""Make datasets of ROS 2 bags: select frames, split them by time, and write them with labels."""

from mnssd_training.bag_import.dataset_writer import image_folder, LabelledFrame, write_dataset
from mnssd_training.bag_import.frame_selection import FrameSelector, MIN_DIFFERENCE, split_by_time

__all__ = [
    'FrameSelector',
    'image_folder',
    'LabelledFrame',
    'MIN_DIFFERENCE',
    'split_by_time',
    'write_dataset',
]
