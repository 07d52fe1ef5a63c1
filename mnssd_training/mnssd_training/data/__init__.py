"""Annotated images: readers, augmentation and batches."""

from mnssd_training.data.remote import ShardEntry
from mnssd_training.data.sample import load_image, read_image, Sample
from mnssd_training.data.sources import read_samples, read_splits, Splits

__all__ = [
    'load_image',
    'read_image',
    'read_samples',
    'read_splits',
    'Sample',
    'ShardEntry',
    'Splits',
]
