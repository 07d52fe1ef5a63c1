"""Training overfits a few real images."""

from collections.abc import Callable
import json
from pathlib import Path

from mnssd_training.config import Experiment
from mnssd_training.train import train
import pytest


@pytest.mark.slow
def test_training_overfits_four_real_images(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    wanted = experiment(
        **{
            'data.val_split': 'train',
            'input.size': '[160, 200]',
            'model.pyramid_channels': 48,
            'augmentation.zoom_out': 0,
            'augmentation.iou_crop': 0,
            'augmentation.horizontal_flip': 0,
            'training.batch_size': 4,
            'training.epochs': 90,
            'evaluation.every_epochs': 90,
            'optimizer.learning_rate': 5e-3,
            'scheduler.warmup_steps': 5,
            'scheduler.final_lr_factor': 0.1,
            'training.ema_decay': 0.9,
        }
    )
    last = train(wanted, tmp_path / 'run', progress=False)
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    losses = [row['loss'] for row in rows if row['kind'] == 'epoch']
    assert len(losses) == 90
    assert losses[-1] < 0.05 * losses[0]
    assert last.metrics['map50'] > 0.8
    assert last.metrics['num_objects'] == {'Person': 4, 'Car': 10, 'Bicycle': 2, 'OtherVehicle': 1}
