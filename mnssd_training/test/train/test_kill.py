"""A run that is killed repeatedly ends bit-identical to an uninterrupted one."""

from collections.abc import Callable
import os
from pathlib import Path
import random
import runpy
from typing import Any

from mnssd_training.config import Experiment, load_experiment
import pytest
import torch

KILLS = 3

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason='autograd on CUDA cannot be forked'
)


@pytest.fixture(scope='module')
def program() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).with_name('kill_and_resume.py')))


def test_run_killed_at_random_moments_resumes_bit_identically(
    program: dict[str, Any], hit_uav: Path, tmp_path: Path
) -> None:
    changes = [f'data.root={hit_uav}', *program['CHANGES'], 'training.epochs=5']
    experiment = load_experiment('smoke', changes)
    uninterrupted, run = tmp_path / 'uninterrupted', tmp_path / 'killed'
    assert program['wait'](program['train_in_a_process'](experiment, uninterrupted)) == 0
    assert program['kill_and_resume'](experiment, run, KILLS, 0.05, random.Random(7)) > 0
    assert program['differences'](uninterrupted, run) == []


def test_comparison_detects_a_difference(
    program: dict[str, Any], tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    for seed in (1, 2):
        child = program['train_in_a_process'](
            tiny(**{'training.seed': seed, 'training.epochs': 1}), tmp_path / str(seed)
        )
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = program['differences'](tmp_path / '1', tmp_path / '2')
    assert any(place.startswith('last.training.model') for place in found)
    assert any(place.startswith('metrics.jsonl') for place in found)
