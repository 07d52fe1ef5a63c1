"""What is attacked of training: experiment files, and small data sets of every format."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnssd_attack.datasets import DatasetFiles, make_datasets

__all__ = ['make_training_target', 'TrainingTarget']

# One experiment that says things in all the ways there are.
EXPERIMENT = """\
# An experiment on a base, with a component of its own.
_base_: [base.yaml]
defaults:
  optimizer: optimizer.yaml
experiment:
  id: attack_1
  name: "a $${plain} name"
  tags: [small, sound]
data:
  root: ${DATA_ROOT:-data}/hit_uav
  rename: {van: car, DontCare: ''}
input: {size: [160, 200]}
priors:
  strides: &levels [8, 16, 32]
  a_cell: [3, 3, 3]
augmentation:
  jitter_scale: [0.6, 1.7]
overrides:
  training:
    epochs: 3
    seed: ${SEED}
"""
BASE = """\
experiment:
  id: base
data:
  root: data/base
  classes: [car, person]
  more:
    - root: data/other
      format: coco
loss:
  class_weights: {car: 2.0, person: 1e-1}
training:
  batch_size: 8
  progressive: [[0.5, 0.75]]
  multi_scale: [0.75, 1.25]
scheduler: {name: multistep, milestones: [0.5, 0.9]}
"""
OPTIMIZER = """\
name: sgd
learning_rate: 1e-2
momentum: 0.9
betas: [0.9, 0.999]
"""


@dataclass(frozen=True)
class TrainingTarget:
    """
    What is attacked of training.

    :ivar experiment: file name to content; ``experiment.yaml`` is the one that is loaded.
    :ivar environment: what that needs.
    :ivar datasets: format to a data set.
    :ivar place: a folder that is made anew for every trial.
    """

    experiment: Mapping[str, bytes]
    environment: Mapping[str, str]
    datasets: Mapping[str, DatasetFiles]
    place: Path


def make_training_target(folder: Path) -> TrainingTarget:
    """
    Get everything ready.

    :param folder: to write damaged files in.
    :return: the target.
    """
    files = {'experiment.yaml': EXPERIMENT, 'base.yaml': BASE, 'optimizer.yaml': OPTIMIZER}
    experiment = {name: text.encode() for name, text in files.items()}
    return TrainingTarget(experiment, {'SEED': '7'}, make_datasets(), folder / 'damaged')
