"""Batches with ready targets: the same in any worker, in any order, after any interruption."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import (
    decode_boxes,
    encode_targets,
    generate_priors,
    MatchingConfig,
    ModelSpec,
)
from mnssd_training.config import AssignmentConfig, AugmentationConfig
from mnssd_training.data import Sample
from mnssd_training.data.dataset import Batch, collate, derive_seed, EpochSampler, TrainingSet
from mnssd_training.errors import DatasetError
from mnssd_training.priors import resize_spec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

SIZE = (96, 120)
EVERYTHING = AugmentationConfig(
    mosaic=0.3, mixup=0.3, large_scale_jitter=0.3, invert=0.3, equalize=0.3
)


def training_set(
    samples: list[Sample],
    spec: ModelSpec,
    augmentation: AugmentationConfig | None = None,
    seed: int = 5,
) -> TrainingSet:
    return TrainingSet(samples, spec, augmentation, AssignmentConfig(), seed)


def epoch_of(
    num_samples: int, batch_size: int, epoch: int, seed: int, **more: Any
) -> EpochSampler:
    return EpochSampler(num_samples, batch_size, epoch, seed, size_of=lambda number: SIZE, **more)


# --- determinism -----------------------------------------------------------------------------


def test_an_item_depends_on_seed_epoch_and_name_only(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    one = training_set(train_samples, spec, AugmentationConfig(large_scale_jitter=0.5, invert=0.5))
    other = training_set(
        train_samples[::-1], spec, AugmentationConfig(large_scale_jitter=0.5, invert=0.5)
    )
    forwards = [one[2, index, SIZE] for index in range(4)]
    backwards = [other[2, index, SIZE] for index in range(4)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first[0] == second[0]
        for left, right in zip(first[1:], second[1:], strict=True):
            assert np.array_equal(left, right)


def test_epoch_and_seed_change_an_item(train_samples: list[Sample], spec: ModelSpec) -> None:
    dataset = training_set(train_samples, spec, EVERYTHING)
    images = [dataset[epoch, 0, SIZE][1] for epoch in range(4)]
    images.append(training_set(train_samples, spec, EVERYTHING, seed=6)[0, 0, SIZE][1])
    assert len({image.tobytes() for image in images}) == 5


def test_repetition_in_an_epoch_is_augmented_anew(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec, EVERYTHING)
    items = [dataset[1, 2 + 4 * repetition, SIZE] for repetition in range(3)]
    assert {item[0] for item in items} == {train_samples[2].name}
    assert len({item[1].tobytes() for item in items}) == 3


def test_global_random_state_is_not_used(train_samples: list[Sample], spec: ModelSpec) -> None:
    dataset = training_set(train_samples, spec, EVERYTHING)
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002 - that it is not touched
    state = torch.get_rng_state()
    _ = dataset[0, 0, SIZE]
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(np_state, np.random.get_state()[1])  # noqa: NPY002


def test_any_number_of_workers_gives_the_same_batches(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec, EVERYTHING)

    def batches(workers: int) -> list[Batch]:
        sizes = [SIZE, (64, 96)]
        sampler = EpochSampler(4, 2, epoch=3, seed=5, size_of=lambda number: sizes[number])
        return list(
            DataLoader(dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate)
        )

    alone = batches(0)
    assert [batch.size for batch in alone] == [SIZE, (64, 96)]
    for workers in (1, 2):
        for one, other in zip(alone, batches(workers), strict=True):
            assert one.names == other.names
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.classes, other.classes)
            assert torch.equal(one.offsets, other.offsets)


def test_derived_seeds_differ() -> None:
    assert (
        len({derive_seed(*parts) for parts in [(1, 2), (12,), (1, 3), ('1', '2', ''), (2, 1)]})
        == 5
    )
    assert 0 <= derive_seed('anything') < 2**63
    assert derive_seed(1, 'a') == derive_seed(1, 'a')


# --- the order of an epoch -------------------------------------------------------------------


def test_an_epoch_shows_each_sample_at_most_once() -> None:
    batches = list(epoch_of(103, 10, epoch=4, seed=1))
    keys = [key for batch in batches for key in batch]
    assert len(batches) == len(epoch_of(103, 10, epoch=4, seed=1)) == 10
    assert {(epoch, size) for epoch, _, size in keys} == {(4, SIZE)}
    assert len({index for _, index, _ in keys}) == 100
    assert all(0 <= index < 103 for _, index, _ in keys)


@pytest.mark.parametrize('start', [0, 1, 9, 10, 11])
def test_sampler_resumes_an_epoch(start: int) -> None:
    whole = list(epoch_of(103, 10, epoch=4, seed=1))
    rest = epoch_of(103, 10, epoch=4, seed=1, start=start)
    assert list(rest) == whole[start:]
    assert len(rest) == len(whole[start:])


def test_order_depends_on_epoch_and_seed() -> None:
    def order(epoch: int, seed: int) -> tuple[int, ...]:
        return tuple(i for batch in epoch_of(64, 8, epoch, seed) for _, i, _ in batch)

    assert len({order(0, 1), order(1, 1), order(0, 2)}) == 3


@pytest.mark.parametrize('start', [0, 3])
@pytest.mark.parametrize('world', [1, 2, 3, 8])
def test_each_process_gets_its_share_of_each_batch(world: int, start: int) -> None:
    def batches(**share: int) -> list[list[Any]]:
        return list(
            EpochSampler(50, 8, 1, 2, start=start, size_of=lambda n: (32 + 8 * n, 64), **share)
        )

    whole = batches()
    assert [batch[0][2] for batch in whole] == [(32 + 8 * n, 64) for n in range(start, 6)]
    shares = [batches(rank=rank, world=world) for rank in range(world)]
    for number, batch in enumerate(whole):
        assert [shares[i % world][number][i // world] for i in range(len(batch))] == batch
        assert sum(len(share[number]) for share in shares) == len(batch)


@pytest.mark.parametrize(('rank', 'world'), [(2, 2), (-1, 2), (0, 9), (0, 0)])
def test_invalid_rank_and_world_are_refused(rank: int, world: int) -> None:
    with pytest.raises(ValueError, match=f'got rank {rank} of {world} processes for 8 samples'):
        epoch_of(50, 8, 1, 2, rank=rank, world=world)


def test_a_set_smaller_than_a_batch_has_no_batches() -> None:
    for num in (0, 7):
        assert list(epoch_of(num, 8, 0, 0)) == []


# --- batches ---------------------------------------------------------------------------------


def test_batch_shapes(train_samples: list[Sample], spec: ModelSpec) -> None:
    dataset = training_set(train_samples, spec)
    batch = collate([dataset[0, index, SIZE] for index in range(3)])
    assert isinstance(batch, Batch)
    assert batch.images.shape == (3, *spec.input_size, 3)
    assert batch.classes.shape == (3, spec.num_priors)
    assert batch.offsets.shape == (3, spec.num_priors, 4)
    assert (batch.images.dtype, batch.classes.dtype) == (torch.uint8, torch.int64)
    assert batch.offsets.dtype == torch.float32
    assert batch.names == tuple(sample.name for sample in train_samples[:3])
    assert batch.to(torch.device('cpu')).names == batch.names
    assert batch.size == SIZE


def test_batches_for_task_alignment_hold_the_objects(
    train_samples: list[Sample], spec: ModelSpec, make_sample: Callable[..., Sample]
) -> None:
    empty = make_sample(size=train_samples[0].size, path=train_samples[0].path)
    samples = [empty, *train_samples[:2]]
    config = AssignmentConfig(method='tal', tal_topk=5)
    dataset = TrainingSet(samples, spec, None, config, 5)
    alone = collate([dataset[0, 0, SIZE]])
    assert isinstance(alone, Batch)
    assert alone.objects is not None
    assert alone.objects.boxes.shape == (1, 0, 4)
    batch = collate([dataset[0, index, SIZE] for index in range(3)])
    assert isinstance(batch, Batch)
    batch = batch.to(torch.device('cpu'))
    assert (batch.classes <= 0).all()
    objects = batch.objects
    assert objects is not None
    num = max(len(sample.boxes) for sample in samples)
    assert objects.boxes.shape == (3, num, 4)
    assert objects.candidates.shape == (3, num, 5 * (2 + 1 + 1))
    for index, sample in enumerate(samples):
        count = len(sample.boxes)
        expected = sample.boxes / np.array(sample.size[::-1] * 2, np.float32)
        np.testing.assert_allclose(objects.boxes[index, :count].numpy(), expected, atol=1e-6)
        assert objects.labels[index, :count].tolist() == sample.labels.tolist()
        assert (objects.labels[index, count:] == -1).all()
        assert (objects.candidates[index, :count] >= 0).any(dim=1).all()
        assert (objects.candidates[index, count:] == -1).all()


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_fails_in_a_worker_is_named(
    train_samples: list[Sample], spec: ModelSpec, workers: int
) -> None:
    samples = [replace(sample, path=Path('gone.jpg')) for sample in train_samples]
    loader = DataLoader(
        training_set(samples, spec),
        batch_sampler=epoch_of(4, 2, epoch=0, seed=0),
        num_workers=workers,
        collate_fn=collate,
    )
    error = next(iter(loader))
    assert isinstance(error, DatasetError)
    assert error.path == Path('gone.jpg')
    assert str(error) == 'gone.jpg: cannot read the image: No such file or directory'


# --- targets ---------------------------------------------------------------------------------


def test_targets_of_a_real_image_decode_to_its_objects(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec)
    for index, sample in enumerate(train_samples):
        _, _, classes, offsets = dataset[0, index, SIZE]
        size = np.array(sample.size[::-1] * 2, np.float32)
        boxes = decode_boxes(offsets, generate_priors(spec), spec.variances) * size
        for box, label in zip(sample.boxes, sample.labels, strict=True):
            own = boxes[classes == label + 1]
            assert np.abs(own - box).max(axis=1).min() < 0.05
        assert (offsets[classes <= 0] == 0).all()


def test_targets_match_the_requested_input_size(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    sample = train_samples[0]
    _, image, classes, offsets = training_set([sample], spec)[0, 0, (160, 208)]
    other = resize_spec(spec, (160, 208))
    assert image.shape == (160, 208, 3)
    assert len(classes) == len(offsets) == other.num_priors > spec.num_priors
    size = np.array(sample.size[::-1] * 2, np.float32)
    boxes = decode_boxes(offsets, generate_priors(other), other.variances) * size
    for box, label in zip(sample.boxes, sample.labels, strict=True):
        assert np.abs(boxes[classes == label + 1] - box).max(axis=1).min() < 0.05


def test_priors_in_ignore_regions_are_ignored(val_samples: list[Sample], spec: ModelSpec) -> None:
    sample = next(s for s in val_samples if s.name == '1_70_60_0_07688')
    _, _, classes, _ = training_set([sample], spec)[0, 0, SIZE]
    size = np.array(sample.size[::-1] * 2, np.float32)
    priors = boxes_of.cxcywh_to_xyxy(generate_priors(spec)) * size
    inside = boxes_of.box_ioa(priors, sample.ignore).max(axis=1) >= 0.5
    assert inside.any()
    assert (classes[inside] != 0).all()
    far = (boxes_of.box_iou(priors, sample.boxes).max(axis=1) < 0.3) & ~inside & (classes <= 0)
    assert (classes[far] == 0).all()


def test_an_object_without_a_fitting_prior_gets_the_best_one(
    spec: ModelSpec, make_sample: Callable[..., Sample]
) -> None:
    priors = generate_priors(spec)
    tiny = np.array([[0.5, 0.5, 0.51, 0.51], [0.503, 0.503, 0.513, 0.513]], np.float32)
    target = encode_targets(
        tiny, np.array([1, 3]), np.zeros((0, 4)), priors, spec.variances, MatchingConfig()
    )
    assert sorted(target.classes[target.classes > 0].tolist()) == [2, 4]


def test_the_best_prior_stays_positive_in_an_ignore_region(spec: ModelSpec) -> None:
    box = np.array([[0.4, 0.4, 0.45, 0.5]], np.float32)
    everywhere = np.array([[-1.0, -1.0, 2.0, 2.0]], np.float32)
    target = encode_targets(
        box,
        np.array([0]),
        everywhere,
        generate_priors(spec),
        spec.variances,
        MatchingConfig(0.99, 0.98),
    )
    assert (target.classes == 1).sum() == 1
    assert (target.classes == -1).sum() == spec.num_priors - 1


def test_an_image_without_objects_is_all_background(spec: ModelSpec) -> None:
    none = np.zeros((0, 4), np.float32)
    target = encode_targets(
        none, np.zeros(0, int), none, generate_priors(spec), spec.variances, MatchingConfig()
    )
    assert (target.classes == 0).all()
    assert (target.offsets == 0).all()
