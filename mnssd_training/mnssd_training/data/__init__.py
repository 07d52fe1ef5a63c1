"""Annotated photographs: readers, augmentation and batches."""

from mnssd_training.data.sample import Sample
from mnssd_training.data.voc import read_voc

__all__ = ['read_voc', 'Sample']
