"""
Measure images to batches per second beside three peers, alone and in a training loop.

The strongest peer is torchvision, tuned; the other two are what people start from: torchvision's
reference training, and the way of the older pytorch-ssd scripts. All of them read the same images,
augment as strongly (photometric distortion, zoom-out, IoU crop, flip: Liu et al., SSD, section
2.2), fill the same network input and match the same priors. Ratios are of CPU time, which depends
less than wall time on what else runs on the machine.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import encode_targets, generate_priors, MatchingConfig, ModelSpec
from mnssd_training.config import (
    AssignmentConfig,
    AugmentationConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
)
from mnssd_training.data import read_splits, Sample
from mnssd_training.data.dataset import collate, EpochSampler, TrainingSet
from mnssd_training.data.sample import load_image, read_image
from mnssd_training.data.transforms import augment
from mnssd_training.errors import ConfigError
from mnssd_training.loss import count_positives, Criterion
from mnssd_training.model import build_model
from mnssd_training.priors import clustered_feature_maps, measure_box_sizes
import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks import pytorch_ssd_loading as pytorch_ssd
from benchmarks import torchvision_loading as reference
from benchmarks import torchvision_tuned_loading as tuned
from benchmarks.loading_peer import Batch
from benchmarks.timing import measure

MNSSD, TUNED = 'mnssd', 'torchvision v2, tuned'
REFERENCE, PYTORCH_SSD = 'torchvision reference', 'pytorch-ssd style'
SIZE = (320, 320)
STRIDES, PRIORS_PER_CELL = (8, 16, 32, 64), (5, 4, 3, 3)
MIN_IMAGES = 64  # per epoch; four times as many per worker, which takes long to start
BATCH_SIZE = 8
STEPS = 2  # of training per round
STAGE_REPEATS = 20  # per round

Loader = Callable[[Sequence[Sample], ModelSpec, MatchingConfig, int, int], Iterator[Batch]]


def bench_loading(root: Path | None = None, rounds: int = 5, workers: int = 0) -> None:
    """
    Print images per second and ratios.

    :param root: dataset in VOC layout with ``classes.txt``; None for the images of the demo with
        the detections of the shipped model as annotations.
    :param workers: processes of each loader.
    """
    # As in a worker; small tensors on several cores cost more than they gain.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    samples, spec = _read_samples(root, workers)
    loaders: dict[str, Loader] = {
        MNSSD: _batches,
        TUNED: tuned.batches,
        REFERENCE: reference.batches,
        PYTORCH_SSD: pytorch_ssd.batches,
    }
    print(
        f'\n{len(samples)} images of {root.name if root else "the demo"}, network input {SIZE}, '
        f'{spec.num_priors} priors, {workers} workers, 1 thread'
    )
    _compare_stages(samples[0], spec, STAGE_REPEATS * rounds)

    def load_epoch(loader: Loader) -> None:
        for _ in loader(samples, spec, MatchingConfig(), BATCH_SIZE, workers):
            pass

    print(f'images to batches: median (best) of {rounds} rounds')
    num_loaded = len(samples) // BATCH_SIZE * BATCH_SIZE
    _compare(
        {name: partial(load_epoch, loader) for name, loader in loaders.items()}, rounds, num_loaded
    )
    train_step, subset = _make_train_step(spec), samples[: STEPS * BATCH_SIZE]

    def train(loader: Loader) -> None:
        for batch in loader(subset, spec, MatchingConfig(), BATCH_SIZE, workers):
            train_step(*batch)

    print(f'images to training steps of the same network: median (best) of {rounds} rounds')
    _compare(
        {name: partial(train, loader) for name, loader in loaders.items()}, rounds, len(subset)
    )


def _read_samples(root: Path | None, workers: int) -> tuple[list[Sample], ModelSpec]:
    """Read the dataset, repeat it to the length of an epoch and cluster its priors."""
    if root is None:
        samples, class_names = _demo_samples()
    elif root.is_dir():
        splits = read_splits(DataConfig(root=str(root)))
        samples, class_names = [*splits.train, *splits.val], splits.class_names
    else:
        raise ConfigError(f'{root}: no such folder; name one in VOC layout with --data')
    repeats = -(-MIN_IMAGES * max(1, 4 * workers) // len(samples))
    sizes = measure_box_sizes(samples, SIZE)
    levels = clustered_feature_maps(sizes, SIZE, STRIDES, PRIORS_PER_CELL, seed=0)
    return samples * repeats, ModelSpec(SIZE, class_names, levels)


def _demo_samples() -> tuple[list[Sample], tuple[str, ...]]:
    """Annotate the images of the demo, which every installation has, with the shipped model."""
    path = shipped_bundle_path()
    image_paths = sorted((path.parent / 'clips' / 'hit_uav').glob('*.jpg'))[:32]
    if not image_paths:
        raise ConfigError('the images of the demo are not installed; name others with --data')
    bundle = open_bundle(path)
    detector = Detector(open_engine(bundle), bundle.manifest.thresholds)
    no_ignore = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    samples = []
    for image_path in image_paths:
        image = read_image(image_path)
        detections = detector.detect(image)
        size, annotations = image.shape[:2], (detections.boxes, detections.labels)
        samples.append(Sample(image_path.stem, image_path, size, *annotations, *no_ignore))
    return samples, detector.class_names


def _batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Load an epoch as the training of mnssd does."""
    loader = DataLoader(
        TrainingSet(samples, spec, AugmentationConfig(), AssignmentConfig(**vars(matching)), 0),
        batch_sampler=EpochSampler(len(samples), batch_size, 0, 0, size_of=lambda _: SIZE),
        num_workers=workers,
        collate_fn=collate,
    )
    for batch in loader:
        if isinstance(batch, MnssdError):
            raise batch
        yield batch.images, batch.classes, batch.offsets


def _make_train_step(
    spec: ModelSpec,
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """Make a function that trains one step, on uint8 images or on normalised float images."""
    model = build_model(spec, ModelConfig()).train()
    criterion, priors = Criterion(LossConfig(), spec), torch.tensor(generate_priors(spec))
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)

    def train_step(images: torch.Tensor, classes: torch.Tensor, offsets: torch.Tensor) -> None:
        if images.shape[1] == 3:  # the network takes NHWC; the time does not depend on the values
            images = images.permute(0, 2, 3, 1)
        logits, predicted = model(images)
        num_positives = count_positives(classes)
        losses = criterion(logits, predicted, classes, offsets, priors, SIZE, num_positives)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()

    return train_step


def _compare_stages(sample: Sample, spec: ModelSpec, rounds: int) -> None:
    """Print what each stage of one image costs."""
    print(f'one image with {len(sample.boxes)} objects: median (best) of {rounds} rounds')
    config, generator = AugmentationConfig(), np.random.default_rng(0)
    dataset, resize = reference.make_dataset([sample], spec), reference.make_resize(spec)
    labels = sample.labels + 1
    boxes = (sample.boxes / np.tile(sample.size[::-1], 2)).astype(np.float32)
    priors = generate_priors(spec)
    torch_boxes, torch_labels = torch.from_numpy(boxes), torch.from_numpy(labels)
    torch_priors = torch.tensor(priors)
    torch_priors_xyxy = torch.from_numpy(box_ops.cxcywh_to_xyxy(priors))
    no_ignore, matching = np.zeros((0, 4), np.float32), MatchingConfig()

    def augment_reference() -> object:
        image, target = dataset[0]
        return resize([image], [target])

    def augment_pytorch_ssd() -> object:
        image = pytorch_ssd.decode(sample)
        return pytorch_ssd.augment(image, sample.boxes, labels, SIZE, generator)

    stages: dict[str, dict[str, Callable[[], object]]] = {
        'decode': {
            MNSSD: partial(load_image, sample),
            TUNED: partial(tuned.decode, sample),
            REFERENCE: partial(reference.decode, sample),
            PYTORCH_SSD: partial(pytorch_ssd.decode, sample),
        },
        'decode, augment, resize': {
            MNSSD: partial(augment, [sample], 0, spec, SIZE, config, generator),
            TUNED: lambda: tuned.augment(tuned.decode(sample), sample, spec),
            REFERENCE: augment_reference,
            PYTORCH_SSD: augment_pytorch_ssd,
        },
        'match priors': {
            MNSSD: lambda: encode_targets(
                boxes, sample.labels, no_ignore, priors, spec.variances, matching
            ),
            'torchvision, both': partial(
                reference.match, torch_boxes, torch_labels, torch_priors_xyxy, matching
            ),
            PYTORCH_SSD: partial(
                pytorch_ssd.match, torch_boxes, torch_labels, torch_priors, matching
            ),
        },
    }
    for stage, functions in stages.items():
        print(f' {stage}')
        timings = measure(functions, rounds)
        for name, timing in timings.items():
            print(f'  {name:<24}{timing}   {timing.cpu / timings[MNSSD].cpu:6.2f} x mnssd (CPU)')


def _compare(functions: dict[str, Callable[[], object]], rounds: int, num_images: int) -> None:
    """Print images per second."""
    timings = measure(functions, rounds)
    for name, timing in timings.items():
        rate, best = num_images / timing.median, num_images / timing.best
        print(
            f'  {name:<24}{rate:8.1f} ({best:.1f}) images/s, {num_images / timing.cpu:8.1f} '
            f'images/CPU s   {timing.cpu / timings[MNSSD].cpu:6.2f} x mnssd (CPU)'
        )
