"""Suites of tiny experiments on the real images."""

from collections.abc import Callable, Sequence
import json
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation import evaluate_detections, scores_to_json
from mnssd_training.suite import load_suite, plan_runs, SuiteRun
import numpy as np
import pytest

CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
TINY = [
    'input.size=[64, 80]',
    'model.pyramid_channels=8',
    'model.width_mult=0.25',
    'training.batch_size=2',
    'logging.tensorboard=false',
    'logging.every_steps=1',
]


@pytest.fixture
def make_runs(tmp_path: Path, hit_uav: Path) -> Callable[..., tuple[SuiteRun, ...]]:
    """Plan the runs of a suite of two recipes, with changes to its file."""

    def make(**keys: Any) -> tuple[SuiteRun, ...]:
        content = {
            'experiment': 'smoke',
            'overrides': [*TINY, f'data.root={hit_uav}'],
            'recipes': {'control': {}, 'giou': {'overrides': ['loss.localization=giou']}},
            **keys,
        }
        path = tmp_path / 'tiny.yaml'
        path.write_text(json.dumps(content))
        return plan_runs(*load_suite(str(path)), tmp_path / 'runs')

    return make


@pytest.fixture(scope='session')
def metrics(val_samples: list[Sample]) -> Callable[[Sequence[int]], dict[str, Any]]:
    """Score detectors that find all objects of some classes and nothing else."""

    def score(found: Sequence[int]) -> dict[str, Any]:
        detections = []
        for sample in val_samples:
            keep = np.isin(sample.labels, found)
            ones = np.ones(int(keep.sum()), np.float32)
            detections.append(Detections(sample.boxes[keep], ones, sample.labels[keep]))
        return scores_to_json(evaluate_detections(val_samples, detections, CLASSES))

    return score


@pytest.fixture
def finish(
    metrics: Callable[[Sequence[int]], dict[str, Any]],
) -> Callable[..., None]:
    """Write the folder of a run that has ended and finds all objects of some classes."""

    def write(run: SuiteRun, found: Sequence[int], state: str = 'success', **row: Any) -> None:
        run.folder.mkdir(parents=True)
        status = {'status': state, 'reason': '' if state == 'success' else 'out of luck'}
        (run.folder / 'status.json').write_text(json.dumps(status))
        epoch = {'kind': 'epoch', 'epoch': 1, 'step': 5, 'images': 10, 'images_per_second': 50.0}
        lines = [{'kind': 'step', 'step': 5, 'epoch': 1.0}, epoch | metrics(found) | row]
        (run.folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)))

    return write
