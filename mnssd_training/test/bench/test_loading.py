"""The rival loaders of the benchmark do the same work as ours."""

from functools import partial
from pathlib import Path

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Matching, ModelSpec, prior_boxes, targets
from mnssd_training.bench import loading, qfgaohao_loading, torchvision_loading
from mnssd_training.data import Sample
from mnssd_training.errors import ConfigError
import numpy as np
import pytest
import torch

NOTHING = np.zeros((0, 4), np.float32)
MATCHING = Matching(0.5, 0.5)  # the rivals leave no prior out


@pytest.mark.parametrize('rival', [qfgaohao_loading, torchvision_loading], ids=['qfgaohao', 'tv'])
def test_a_rival_makes_batches_for_the_same_network(
    rival: object, train_samples: list[Sample], spec: ModelSpec
) -> None:
    batches = list(rival.batches(train_samples, spec, MATCHING, 2, 0))  # type: ignore[attr-defined]
    assert len(batches) == 2
    for images, classes, offsets in batches:
        assert images.shape == (2, 3, *spec.input_size)
        assert images.dtype == torch.float32
        assert -5 < images.min() < images.max() < 5
        assert classes.shape == (2, spec.num_priors)
        assert offsets.shape == (2, spec.num_priors, 4)
        assert (classes > 0).any()
        assert torch.isfinite(offsets[classes > 0]).all()


@pytest.mark.parametrize('num', [0, 1, 4])
def test_rivals_match_priors_as_we_do(num: int, spec: ModelSpec) -> None:
    low = np.array([(0.1, 0.1), (0.5, 0.2), (0.2, 0.6), (0.6, 0.7)], np.float32)[:num]
    high = low + np.array((0.14, 0.13), np.float32)
    boxes, labels = np.concatenate((low, high), axis=1), np.arange(num)
    priors = prior_boxes(spec)
    ours = targets(boxes, labels, NOTHING, priors, spec.variances, MATCHING)
    match = partial(torchvision_loading.match, matching=MATCHING)
    edges = boxes_of.cxcywh_to_xyxy(priors)
    for classes, offsets in (
        match(torch.from_numpy(boxes), torch.from_numpy(labels) + 1, torch.from_numpy(edges)),
        qfgaohao_loading.match(
            torch.from_numpy(boxes),
            torch.from_numpy(labels) + 1,
            torch.from_numpy(priors.copy()),
            MATCHING,
        ),
    ):
        positive = ours.classes > 0
        assert np.array_equal(classes.numpy(), ours.classes)
        np.testing.assert_allclose(offsets.numpy()[positive], ours.offsets[positive], atol=1e-4)


def test_it_prints_ratios(
    hit_uav: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smaller = {'SIZE': (64, 64), 'PHOTOGRAPHS': 8, 'BATCH_SIZE': 4, 'STEPS': 1, 'STAGE_ROUNDS': 1}
    for name, value in smaller.items():
        monkeypatch.setattr(loading, name, value)
    loading.bench_loading(hit_uav, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    rates = [line for line in lines if 'a second' in line]
    assert [line.split()[0] for line in rates] == ['mnssd', 'torchvision', 'qfgaohao-style'] * 2


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'gone: no such folder; .* --data'):
        loading.bench_loading(tmp_path / 'gone')
