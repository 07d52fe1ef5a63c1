"""Compute the SSD loss from raw heads and encoded targets."""

from mnssd_training.loss.criterion import count_positives, Criterion, Losses

__all__ = ['count_positives', 'Criterion', 'Losses']
