"""Compute the SSD loss from raw heads and encoded targets."""

from mnssd_training.loss.criterion import count_positives, Criterion, Losses
from mnssd_training.loss.task_alignment import align_tasks, TargetTensors

__all__ = ['align_tasks', 'count_positives', 'Criterion', 'Losses', 'TargetTensors']
