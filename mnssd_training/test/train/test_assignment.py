"""Each assignment and each loss of quality trains on real images."""

from collections.abc import Callable
import json
from pathlib import Path
import re

from mnssd_training.config import Experiment
from mnssd_training.train import train
from mnssd_training.train.dry_run import dry_run
import pytest

COMBINATIONS = [
    ('iou', 'quality_focal'),
    ('iou', 'varifocal'),
    ('atss', 'softmax'),
    ('atss', 'varifocal'),
    ('tal', 'quality_focal'),
    ('tal', 'varifocal'),
]


@pytest.mark.parametrize(('method', 'classification'), COMBINATIONS)
def test_loss_falls_on_real_images(
    tiny: Callable[..., Experiment],
    without_validation: None,
    tmp_path: Path,
    method: str,
    classification: str,
) -> None:
    """One prior per cell from stride 4 on; the same images in each of 12 steps."""
    wanted = tiny(
        **{
            'matching.method': method,
            'loss.classification': classification,
            'loss.focal_gamma': 0 if classification == 'quality_focal' else 2,
            'loss.localization': 'giou',
            'priors.strides': '[4, 8, 16]',
            'priors.priors_per_cell': '[1, 1, 1]',
            'augmentation.zoom_out': 0,
            'augmentation.iou_crop': 0,
            'augmentation.horizontal_flip': 0,
            'training.batch_size': 4,
            'training.epochs': 12,
            'evaluation.every_epochs': 12,
            'optimizer.learning_rate': 0.01,
            'scheduler.warmup_steps': 0,
        }
    )
    train(wanted, tmp_path / 'run', progress=False)
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if row['kind'] == 'step']
    assert len(losses) == 12
    # Soft targets rise with the IoU, and so does the entropy below which no loss falls.
    assert max(losses[-3:]) < 0.95 * losses[0]


def test_dry_run_counts_objects_where_a_step_assigns_them(
    tiny: Callable[..., Experiment],
) -> None:
    wanted = {'training.batch_size': 4, 'loss.classification': 'varifocal'}
    lines = list(dry_run(tiny(**wanted, **{'matching.method': 'tal'})))
    assert re.search(r'first batch: 4 images, [1-9]\d* objects, loss', lines[-1])
    lines = list(dry_run(tiny(**wanted)))
    assert re.search(r'first batch: 4 images, [1-9]\d* positive priors, loss', lines[-1])
