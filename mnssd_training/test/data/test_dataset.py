"""Batches with ready targets: the same in any worker, in any order, after any interruption."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import decode, Matching, ModelSpec, prior_boxes, targets
from mnssd_training.data import Sample
from mnssd_training.data.dataset import Batch, collate, EpochSampler, seed_of, TrainingSet
from mnssd_training.data.transforms import Augmentation
from mnssd_training.errors import DatasetError
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader


def training_set(
    samples: list[Sample], spec: ModelSpec, augmentation: Augmentation | None = None, seed: int = 5
) -> TrainingSet:
    return TrainingSet(samples, spec, augmentation, Matching(), seed)


# --- determinism -----------------------------------------------------------------------------


def test_an_item_depends_on_seed_epoch_and_name_only(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    one = training_set(train_samples, spec, Augmentation())
    other = training_set(train_samples[::-1], spec, Augmentation())
    forwards = [one[2, index] for index in range(4)]
    torch.manual_seed(99)
    backwards = [other[2, index] for index in range(4)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first[0] == second[0]
        for left, right in zip(first[1:], second[1:], strict=True):
            assert np.array_equal(left, right)


def test_epoch_and_seed_change_an_item(train_samples: list[Sample], spec: ModelSpec) -> None:
    dataset = training_set(train_samples, spec, Augmentation())
    images = [dataset[epoch, 0][1] for epoch in range(4)]
    images.append(training_set(train_samples, spec, Augmentation(), seed=6)[0, 0][1])
    assert len({image.tobytes() for image in images}) == 5


def test_the_random_state_outside_is_left_alone(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec, Augmentation())
    torch.manual_seed(1)
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002 - that it is not touched
    state = torch.get_rng_state()
    _ = dataset[0, 0]
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(np_state, np.random.get_state()[1])  # noqa: NPY002


def test_workers_give_the_batches_of_the_main_process(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec, Augmentation())

    def batches(workers: int) -> list[Batch]:
        sampler = EpochSampler(4, 2, epoch=3, seed=5)
        return list(
            DataLoader(dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate)
        )

    for alone, shared_out in zip(batches(0), batches(2), strict=True):
        assert alone.names == shared_out.names
        assert torch.equal(alone.images, shared_out.images)
        assert torch.equal(alone.classes, shared_out.classes)
        assert torch.equal(alone.offsets, shared_out.offsets)


def test_seeds_differ() -> None:
    assert len({seed_of(*parts) for parts in [(1, 2), (12,), (1, 3), ('1', '2', ''), (2, 1)]}) == 5
    assert 0 <= seed_of('anything') < 2**63
    assert seed_of(1, 'a') == seed_of(1, 'a')


# --- the order of an epoch -------------------------------------------------------------------


def test_an_epoch_shows_each_sample_at_most_once() -> None:
    batches = list(EpochSampler(103, 10, epoch=4, seed=1))
    keys = [key for batch in batches for key in batch]
    assert len(batches) == len(EpochSampler(103, 10, epoch=4, seed=1)) == 10
    assert {epoch for epoch, _ in keys} == {4}
    assert len({index for _, index in keys}) == 100
    assert all(0 <= index < 103 for _, index in keys)


@pytest.mark.parametrize('start', [0, 1, 9, 10, 11])
def test_an_epoch_goes_on_where_it_stopped(start: int) -> None:
    whole = list(EpochSampler(103, 10, epoch=4, seed=1))
    rest = EpochSampler(103, 10, epoch=4, seed=1, start=start)
    assert list(rest) == whole[start:]
    assert len(rest) == len(whole[start:])


def test_epochs_and_seeds_have_their_own_order() -> None:
    def order(epoch: int, seed: int) -> tuple[int, ...]:
        return tuple(i for batch in EpochSampler(64, 8, epoch, seed) for _, i in batch)

    assert len({order(0, 1), order(1, 1), order(0, 2)}) == 3


# --- batches ---------------------------------------------------------------------------------


def test_the_shapes_of_a_batch(train_samples: list[Sample], spec: ModelSpec) -> None:
    dataset = training_set(train_samples, spec)
    batch = collate([dataset[0, index] for index in range(3)])
    assert isinstance(batch, Batch)
    assert batch.images.shape == (3, *spec.input_size, 3)
    assert batch.classes.shape == (3, spec.num_priors)
    assert batch.offsets.shape == (3, spec.num_priors, 4)
    assert (batch.images.dtype, batch.classes.dtype) == (torch.uint8, torch.int64)
    assert batch.offsets.dtype == torch.float32
    assert batch.names == tuple(sample.name for sample in train_samples[:3])
    assert batch.to(torch.device('cpu')).names == batch.names


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_fails_in_a_worker_is_named(
    train_samples: list[Sample], spec: ModelSpec, workers: int
) -> None:
    samples = [replace(sample, path=Path('gone.jpg')) for sample in train_samples]
    loader = DataLoader(
        training_set(samples, spec),
        batch_sampler=EpochSampler(4, 2, epoch=0, seed=0),
        num_workers=workers,
        collate_fn=collate,
    )
    error = next(iter(loader))
    assert isinstance(error, DatasetError)
    assert error.path == Path('gone.jpg')
    assert str(error) == 'gone.jpg: cannot read the image: No such file or directory'


# --- targets ---------------------------------------------------------------------------------


def test_every_object_of_a_real_photograph_has_a_prior_that_decodes_to_it(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    dataset = training_set(train_samples, spec)
    for index, sample in enumerate(train_samples):
        _, _, classes, offsets = dataset[0, index]
        size = np.array(sample.size[::-1] * 2, np.float32)
        boxes = decode(offsets, prior_boxes(spec), spec.variances) * size
        for box, label in zip(sample.boxes, sample.labels, strict=True):
            own = boxes[classes == label + 1]
            assert np.abs(own - box).max(axis=1).min() < 0.05
        assert (offsets[classes <= 0] == 0).all()


def test_priors_in_ignore_regions_are_left_out(val_samples: list[Sample], spec: ModelSpec) -> None:
    sample = next(s for s in val_samples if s.name == '1_70_60_0_07688')
    _, _, classes, _ = training_set([sample], spec)[0, 0]
    size = np.array(sample.size[::-1] * 2, np.float32)
    priors = boxes_of.cxcywh_to_xyxy(prior_boxes(spec)) * size
    inside = boxes_of.overlap(priors, sample.ignore).max(axis=1) >= 0.5
    assert inside.any()
    assert (classes[inside] != 0).all()
    far = (boxes_of.iou(priors, sample.boxes).max(axis=1) < 0.3) & ~inside & (classes <= 0)
    assert (classes[far] == 0).all()


def test_an_object_that_no_prior_fits_is_forced(
    spec: ModelSpec, make_sample: Callable[..., Sample]
) -> None:
    priors = prior_boxes(spec)
    tiny = np.array([[0.5, 0.5, 0.51, 0.51], [0.503, 0.503, 0.513, 0.513]], np.float32)
    goal = targets(tiny, np.array([1, 3]), np.zeros((0, 4)), priors, spec.variances, Matching())
    assert sorted(goal.classes[goal.classes > 0].tolist()) == [2, 4]


def test_a_forced_prior_counts_even_in_an_ignore_region(spec: ModelSpec) -> None:
    box = np.array([[0.4, 0.4, 0.45, 0.5]], np.float32)
    everywhere = np.array([[-1.0, -1.0, 2.0, 2.0]], np.float32)
    goal = targets(
        box, np.array([0]), everywhere, prior_boxes(spec), spec.variances, Matching(0.99, 0.98)
    )
    assert (goal.classes == 1).sum() == 1
    assert (goal.classes == -1).sum() == spec.num_priors - 1


def test_an_empty_photograph_is_all_background(spec: ModelSpec) -> None:
    none = np.zeros((0, 4), np.float32)
    goal = targets(none, np.zeros(0, int), none, prior_boxes(spec), spec.variances, Matching())
    assert (goal.classes == 0).all()
    assert (goal.offsets == 0).all()
