"""Batch norms measured on training images before the first step."""

from collections.abc import Callable
from pathlib import Path

from mnssd_training.config import Experiment, fingerprint
from mnssd_training.data import Sample
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.priors import make_spec
from mnssd_training.train import RunFolder, train
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.recalibration import sample_batches
from mnssd_training.train.state import TrainState
import numpy as np
import pytest
import torch

Make = Callable[..., Experiment]

FROZEN = {'model.frozen_blocks': 2, 'model.frozen_norm': 'true'}
RECALIBRATED = {**FROZEN, 'initial.recalibrate_norm': 'true'}


def test_images_are_spread_over_the_training_set(tiny: Make, train_samples: list[Sample]) -> None:
    experiment = tiny()
    spec = make_spec(experiment, train_samples, ('Person', 'Car', 'Bicycle', 'OtherVehicle'))

    def dataset(samples: list[Sample]) -> TrainingSet:
        return TrainingSet(samples, spec, None, experiment.matching, 0)

    assert list(sample_batches(dataset([]), (64, 80))) == []
    images = dataset(train_samples)
    batches = list(sample_batches(images, (64, 80), num_images=3, batch_size=2))
    assert [tuple(batch.shape) for batch in batches] == [(2, 64, 80, 3), (1, 64, 80, 3)]
    expected = [images[0, index, (64, 80)][1] for index in (0, 1, 2)]
    assert np.array_equal(torch.cat(batches).numpy(), np.stack(expected))


def test_the_key_counts_in_the_fingerprint_only_if_set(tiny: Make) -> None:
    assert fingerprint(tiny(**{'initial.recalibrate_norm': 'false'})) == fingerprint(tiny())
    assert fingerprint(tiny(**{'initial.recalibrate_norm': 'true'})) != fingerprint(tiny())


def test_frozen_norms_get_the_statistics_of_training_images(tiny: Make) -> None:
    states = [
        TrainState(make_fabric(e.training), e) for e in (tiny(**FROZEN), tiny(**RECALIBRATED))
    ]
    before, after = (state.network.state_dict() for state in states)
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith('backbone.') and '.running_' in key for key in changed)
    assert 'backbone.features.0.1.running_var' in changed
    network = states[1].network
    assert network.training
    assert not network.backbone.features[0][1].training  # frozen as before


def test_recalibrated_statistics_stay_while_frozen_and_are_the_same_on_all_ranks(
    tiny: Make,
    run_ranks: Callable[[int, Callable[[int], object]], list[int]],
    without_validation: None,
    tmp_path: Path,
) -> None:
    experiment = tiny(**RECALIBRATED, **{'training.epochs': 1})
    initial = TrainState(make_fabric(experiment.training), experiment).network.state_dict()
    one = train(experiment, tmp_path / 'one', progress=False)
    assert run_ranks(2, lambda _: train(experiment, tmp_path / 'two', progress=False)) == [0, 0]
    two = RunFolder(tmp_path / 'two').newest()
    assert two is not None
    for weights in (one.weights, two.checkpoint.weights):
        for key in initial:
            if key.startswith('backbone.') and '.running_' in key:
                assert torch.equal(weights[key], initial[key]), key


@pytest.mark.usefixtures('without_validation')
def test_a_recalibrated_run_resumes_with_the_same_weights(tiny: Make, tmp_path: Path) -> None:
    experiment = tiny(**{'initial.recalibrate_norm': 'true', 'checkpoint.every_steps': 1,
                         'checkpoint.keep_last': 9})  # fmt: skip
    whole = train(experiment, tmp_path / 'whole', progress=False)
    first = tmp_path / 'whole' / 'checkpoints' / 'step-00000001.pt'
    resumed = train(experiment, tmp_path / 'resumed', resume=str(first), progress=False)
    assert whole.step == resumed.step
    assert all(torch.equal(value, resumed.weights[key]) for key, value in whole.weights.items())
