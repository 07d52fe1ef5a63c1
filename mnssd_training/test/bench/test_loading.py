"""The peers of the loading benchmark do the same work as our loader."""

from collections.abc import Callable
from functools import partial
import os
from pathlib import Path
import shutil
import subprocess
import sys

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import encode_targets, generate_priors, MatchingConfig, ModelSpec
import mnssd_training
from mnssd_training.bench import (
    loading,
    qfgaohao_loading,
    torchvision_loading,
    torchvision_tuned_loading,
)
from mnssd_training.data import Sample
from mnssd_training.errors import ConfigError
import numpy as np
import pytest
import torch

NOTHING = np.zeros((0, 4), np.float32)
MATCHING = MatchingConfig(0.5, 0.5)  # the peers leave no prior out


@pytest.mark.parametrize(
    'peer',
    [qfgaohao_loading, torchvision_loading, torchvision_tuned_loading],
    ids=['qfgaohao', 'reference', 'tuned'],
)
def test_a_peer_makes_batches_for_the_same_network(
    peer: object, train_samples: list[Sample], spec: ModelSpec
) -> None:
    torch.manual_seed(0)
    batches = list(peer.batches(train_samples, spec, MATCHING, 2, 0))  # type: ignore[attr-defined]
    assert len(batches) == 2
    for images, classes, offsets in batches:
        assert images.shape == (2, 3, *spec.input_size)
        if peer is torchvision_tuned_loading:  # normalised in the network, as ours
            assert images.dtype == torch.uint8
        else:
            assert images.dtype == torch.float32
            assert -5 < images.min() < images.max() < 5
        assert classes.shape == (2, spec.num_priors)
        assert offsets.shape == (2, spec.num_priors, 4)
        assert (classes > 0).any()
        assert torch.isfinite(offsets[classes > 0]).all()


@pytest.mark.parametrize('num', [0, 1, 4])
def test_peers_match_priors_as_we_do(num: int, spec: ModelSpec) -> None:
    low = np.array([(0.1, 0.1), (0.5, 0.2), (0.2, 0.6), (0.6, 0.7)], np.float32)[:num]
    high = low + np.array((0.14, 0.13), np.float32)
    boxes, labels = np.concatenate((low, high), axis=1), np.arange(num)
    priors = generate_priors(spec)
    ours = encode_targets(boxes, labels, NOTHING, priors, spec.variances, MATCHING)
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


def test_a_window_shows_its_boxes(make_sample: Callable[..., Sample], spec: ModelSpec) -> None:
    """The tuned peer moves pixels and boxes alike: a bright object stays in its box."""
    torch.manual_seed(3)
    box = (200, 100, 360, 260)
    sample = make_sample([box], [0], size=(512, 640))
    image = torch.zeros(3, 512, 640, dtype=torch.uint8)
    image[:, box[1] : box[3], box[0] : box[2]] = 255
    num_seen = 0
    for _ in range(30):
        seen, boxes, labels = torchvision_tuned_loading.augment(image, sample, spec)
        assert seen.shape == (3, *spec.input_size)
        assert len(boxes) == len(labels) <= 1
        for x1, y1, x2, y2 in boxes.round().int().tolist():
            inside = seen[:, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].float()
            num_seen += 1
            assert not inside.numel() or inside.mean() > 90  # contrast and brightness may halve
    assert num_seen > 10


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the benchmark as small as it can be."""
    smaller = {'SIZE': (64, 64), 'IMAGES': 8, 'BATCH_SIZE': 4, 'STEPS': 1, 'STAGE_ROUNDS': 1}
    for name, value in smaller.items():
        monkeypatch.setattr(loading, name, value)
    monkeypatch.setattr(torch, 'set_num_threads', lambda num: None)


@pytest.mark.usefixtures('small')
def test_it_prints_ratios_and_the_tuned_peer_first(
    hit_uav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loading.bench_loading(hit_uav, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    rates = [line for line in lines if 'a CPU second' in line]
    order = ['mnssd', 'torchvision v2, tuned', 'torchvision reference', 'pytorch-ssd style']
    assert [line[2:26].strip() for line in rates] == order * 2
    assert all(line.endswith(' x our CPU time') for line in rates)


@pytest.mark.slow
def test_it_needs_no_data_of_the_repository(tmp_path: Path) -> None:
    """The package is imported from where nothing but the package lies, as installed."""
    site = tmp_path / 'site-packages'
    shutil.copytree(Path(mnssd_training.__file__).parent, site / 'mnssd_training')
    script = (
        'import sys, mnssd_training.bench.loading as m; print(m.__file__, m._read(None, 0)[1])'
    )
    ran = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': f'{site}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert str(site) in ran.stdout
    assert "'Person', 'Car'" in ran.stdout


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'gone: no such folder; .* --data'):
        loading.bench_loading(tmp_path / 'gone')
