"""Raw heads and targets to a loss: of classes, of boxes, and the sum."""

from mnssd_training.loss.criterion import count_positives, Criterion, Losses

__all__ = ['count_positives', 'Criterion', 'Losses']
