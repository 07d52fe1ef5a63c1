"""The peers of the loading benchmark do the same work as the loader of mnssd."""

from pathlib import Path

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import encode_targets, generate_priors, MatchingConfig, ModelSpec
from mnssd_training.data import Sample
from mnssd_training.errors import ConfigError
import numpy as np
import pytest
import torch

from benchmarks import (
    loading,
    pytorch_ssd_loading,
    torchvision_loading,
    torchvision_tuned_loading,
)

NO_IGNORE = np.zeros((0, 4), np.float32)
MATCHING = MatchingConfig(0.5, 0.5)  # the peers leave no prior out


@pytest.mark.parametrize(
    'peer',
    [pytorch_ssd_loading, torchvision_loading, torchvision_tuned_loading],
    ids=['pytorch_ssd', 'reference', 'tuned'],
)
def test_peer_loads_batches_for_the_same_network(
    peer: object, train_samples: list[Sample], spec: ModelSpec
) -> None:
    torch.manual_seed(0)
    batches = list(peer.batches(train_samples, spec, MATCHING, 2, 0))  # type: ignore[attr-defined]
    assert len(batches) == 2
    for images, classes, offsets in batches:
        assert images.shape == (2, 3, *spec.input_size)
        if peer is torchvision_tuned_loading:  # normalised in the network
            assert images.dtype == torch.uint8
        else:
            assert images.dtype == torch.float32
            assert -5 < images.min() < images.max() < 5
        assert classes.shape == (2, spec.num_priors)
        assert offsets.shape == (2, spec.num_priors, 4)
        assert (classes > 0).any()
        assert torch.isfinite(offsets[classes > 0]).all()


@pytest.mark.parametrize('num', [0, 1, 4])
def test_peers_match_priors_as_mnssd_does(num: int, spec: ModelSpec) -> None:
    low = np.array([(0.1, 0.1), (0.5, 0.2), (0.2, 0.6), (0.6, 0.7)], np.float32)[:num]
    boxes = np.concatenate((low, low + np.array((0.14, 0.13), np.float32)), axis=1)
    labels, priors = np.arange(num), generate_priors(spec)
    target = encode_targets(boxes, labels, NO_IGNORE, priors, spec.variances, MATCHING)
    objects = torch.from_numpy(boxes), torch.from_numpy(labels) + 1
    priors_xyxy = torch.from_numpy(box_ops.cxcywh_to_xyxy(priors))
    for classes, offsets in (
        torchvision_loading.match(*objects, priors_xyxy, MATCHING),
        pytorch_ssd_loading.match(*objects, torch.tensor(priors), MATCHING),
    ):
        positive = target.classes > 0
        assert np.array_equal(classes.numpy(), target.classes)
        np.testing.assert_allclose(offsets.numpy()[positive], target.offsets[positive], atol=1e-4)


def test_tuned_peer_moves_pixels_and_boxes_together(spec: ModelSpec) -> None:
    torch.manual_seed(3)
    box = (200, 100, 360, 260)
    no_ignore = NO_IGNORE, np.zeros(0, np.int64)
    boxes, labels = np.array([box], np.float32), np.zeros(1, np.int64)
    sample = Sample('synthetic', Path('synthetic.png'), (512, 640), boxes, labels, *no_ignore)
    image = torch.zeros(3, 512, 640, dtype=torch.uint8)
    image[:, box[1] : box[3], box[0] : box[2]] = 255
    num_visible = 0
    for _ in range(30):
        augmented, moved, labels = torchvision_tuned_loading.augment(image, sample, spec)
        assert augmented.shape == (3, *spec.input_size)
        assert len(moved) == len(labels) <= 1
        for x1, y1, x2, y2 in moved.round().int().tolist():
            inside = augmented[:, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].float()
            num_visible += 1
            assert not inside.numel() or inside.mean() > 90  # contrast and brightness may halve
    assert num_visible > 10


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the benchmark as small as possible."""
    sizes = {'SIZE': (64, 64), 'MIN_IMAGES': 8, 'BATCH_SIZE': 4, 'STEPS': 1, 'STAGE_REPEATS': 1}
    for name, value in sizes.items():
        monkeypatch.setattr(loading, name, value)
    monkeypatch.setattr(torch, 'set_num_threads', lambda num: None)


@pytest.mark.usefixtures('small')
def test_loading_prints_ratios_with_the_tuned_peer_first(
    hit_uav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loading.bench_loading(hit_uav, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    rates = [line for line in lines if 'images/CPU s' in line]
    order = ['mnssd', 'torchvision v2, tuned', 'torchvision reference', 'pytorch-ssd style']
    assert [line[2:26].strip() for line in rates] == order * 2
    assert all(line.endswith(' x mnssd (CPU)') for line in rates)


def test_the_demo_images_need_no_dataset() -> None:
    samples, spec = loading._read_samples(None, 0)
    assert len(samples) >= loading.MIN_IMAGES
    assert spec.class_names[:2] == ('Person', 'Car')


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'gone: no such folder; .* --data'):
        loading.bench_loading(tmp_path / 'gone')
