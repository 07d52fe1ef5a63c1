"""Evaluation during training, of the whole validation set and of parts of it."""

from lightning_fabric import Fabric
from mnssd_training.data import Sample
from mnssd_training.model import MobileNetSsd
from mnssd_training.train.validate import validate


def test_no_groups_are_no_key(model: MobileNetSsd, val_samples: list[Sample]) -> None:
    assert 'groups' not in validate(Fabric(accelerator='cpu', devices=1), model, val_samples)[0]


def test_groups_are_scored_by_the_names_of_their_images(
    model: MobileNetSsd, val_samples: list[Sample]
) -> None:
    fabric = Fabric(accelerator='cpu', devices=1)
    groups = {'all': '', 'low': '^1_[67]0_', 'none': '^0_'}
    metrics, detections = validate(fabric, model, val_samples, groups=groups)
    parts = metrics.pop('groups')
    assert parts['all'] == metrics
    low = [sample for sample in val_samples if not sample.name.startswith('1_130')]
    assert 0 < len(low) < len(val_samples) == len(detections)
    assert parts['low'] == validate(fabric, model, low)[0]
    assert set(parts['none']['ap50'].values()) == {None}
