"""
Images to batches a second, beside three peers, alone and in a training loop.

The strongest peer is torchvision, tuned; the others are what people start from: torchvision's
reference training, and the way of the older pytorch-ssd scripts. All see the same images, augment
as strongly (photometric distortion, zoom-out, IoU crop, flip: Liu et al., SSD, section 2.2), fill
the same network input and match the same priors. Ratios are of CPU time, which changes less than
the clock with what else runs on the machine.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import encode_targets, generate_priors, MatchingConfig, ModelSpec
from mnssd_training.bench import qfgaohao_loading as qfgaohao
from mnssd_training.bench import torchvision_loading as reference
from mnssd_training.bench import torchvision_tuned_loading as tuned
from mnssd_training.bench.timing import measure
from mnssd_training.config import AugmentationConfig, DataConfig, LossConfig, ModelConfig
from mnssd_training.data import read_splits, Sample
from mnssd_training.data.dataset import collate, EpochSampler, TrainingSet
from mnssd_training.data.sample import load_image, read_image
from mnssd_training.data.transforms import augment
from mnssd_training.errors import ConfigError
from mnssd_training.loss import count_positives, Criterion
from mnssd_training.model import build_model
from mnssd_training.priors import clustered_feature_maps, network_sizes
import numpy as np
import torch
from torch.utils.data import DataLoader

OURS, TUNED = 'mnssd', 'torchvision v2, tuned'
REFERENCE, QFGAOHAO = 'torchvision reference', 'pytorch-ssd style'
SIZE = (320, 320)
STRIDES, PRIORS_A_CELL = (8, 16, 32, 64), (5, 4, 3, 3)
IMAGES = 64  # at least, of an epoch; a worker gets four times as many, for its long start
BATCH_SIZE = 8
STEPS = 2  # of training in a round
STAGE_ROUNDS = 20  # in a round

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images, classes, offsets
Reader = Callable[[Sequence[Sample], ModelSpec, MatchingConfig, int, int], Iterator[Batch]]


def bench_loading(root: Path | None = None, rounds: int = 5, workers: int = 0) -> None:
    """
    Print images a second and ratios.

    :param root: a folder in the layout of PASCAL VOC with ``classes.txt``; by default the images
        of the demo, with what the shipped model finds in them.
    :param rounds: of measuring; in each, every loader goes through all images.
    :param workers: processes of each loader.
    :raises ConfigError: if there is no such folder.
    """
    # As in a worker; small tensors on several cores cost more than they gain.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    samples, spec = _read(root, workers)
    readers: dict[str, Reader] = {
        OURS: _batches,
        TUNED: tuned.batches,
        REFERENCE: reference.batches,
        QFGAOHAO: qfgaohao.batches,
    }
    print(
        f'\n{len(samples)} images of {root.name if root else "the demo"}, network input {SIZE}, '
        f'{spec.num_priors} priors, {workers} workers, 1 thread'
    )
    _compare_stages(samples[0], spec, STAGE_ROUNDS * rounds)

    def go_through(reader: Reader) -> None:
        for _ in reader(samples, spec, MatchingConfig(), BATCH_SIZE, workers):
            pass

    print(f'images to batches: median (best) of {rounds} rounds')
    whole = len(samples) // BATCH_SIZE * BATCH_SIZE
    _compare(
        {name: partial(go_through, reader) for name, reader in readers.items()}, rounds, whole
    )

    step, few = _trainer(spec), samples[: STEPS * BATCH_SIZE]

    def train(reader: Reader) -> None:
        for batch in reader(few, spec, MatchingConfig(), BATCH_SIZE, workers):
            step(*batch)

    print(f'and to steps of one and the same network: median (best) of {rounds} rounds')
    _compare({name: partial(train, reader) for name, reader in readers.items()}, rounds, len(few))


def _read(root: Path | None, workers: int) -> tuple[list[Sample], ModelSpec]:
    """Read the images and lay out priors for their objects."""
    if root is None:
        own, class_names = _demo_samples()
    elif root.is_dir():
        splits = read_splits(DataConfig(root=str(root)))
        own, class_names = [*splits.train, *splits.val], splits.class_names
    else:
        raise ConfigError(f'{root}: no such folder; name one in the layout of VOC with --data')
    times = -(-IMAGES * max(1, 4 * workers) // len(own))
    levels = clustered_feature_maps(network_sizes(own, SIZE), SIZE, STRIDES, PRIORS_A_CELL, seed=0)
    return own * times, ModelSpec(SIZE, class_names, levels)


def _demo_samples() -> tuple[list[Sample], tuple[str, ...]]:
    """Let the shipped model annotate the images of the demo, which every installation has."""
    path = shipped_bundle_path()
    images = sorted((path.parent / 'clips' / 'hit_uav').glob('*.jpg'))[:32]
    if not images:
        raise ConfigError('the images of the demo are not installed; name others with --data')
    bundle = open_bundle(path)
    detector = Detector(open_engine(bundle), bundle.manifest.thresholds)
    samples = []
    for image_path in images:
        image = read_image(image_path)
        found = detector.detect(image)
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        size = (image.shape[0], image.shape[1])
        samples.append(
            Sample(image_path.stem, image_path, size, found.boxes, found.labels, *nothing)
        )
    return samples, detector.class_names


def _batches(
    samples: Sequence[Sample],
    spec: ModelSpec,
    matching: MatchingConfig,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Make the batches of an epoch as our training does."""
    loader = DataLoader(
        TrainingSet(samples, spec, AugmentationConfig(), matching, seed=0),
        batch_sampler=EpochSampler(len(samples), batch_size, 0, 0, size_of=lambda _: SIZE),
        num_workers=workers,
        collate_fn=collate,
    )
    for batch in loader:
        if isinstance(batch, MnssdError):
            raise batch
        yield batch.images, batch.classes, batch.offsets


def _trainer(spec: ModelSpec) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """Make what trains a step, on uint8 images or on floats that are ready."""
    model = build_model(spec, ModelConfig()).train()
    criterion, priors = (
        Criterion(LossConfig(), spec),
        torch.from_numpy(generate_priors(spec).copy()),
    )
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)

    def step(images: torch.Tensor, classes: torch.Tensor, offsets: torch.Tensor) -> None:
        if (
            images.shape[1] == 3
        ):  # the network takes colours last; what their values are is all one
            images = images.permute(0, 2, 3, 1)
        logits, found = model(images)
        num = count_positives(classes)
        losses = criterion(logits, found, classes, offsets, priors, SIZE, num)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()

    return step


def _compare_stages(sample: Sample, spec: ModelSpec, rounds: int) -> None:
    """Print what each stage of one image costs."""
    print(f'one image with {len(sample.boxes)} objects: median (best) of {rounds} rounds')
    config, generator = AugmentationConfig(), np.random.default_rng(0)
    photographs, resize = reference.Photographs([sample], spec), reference.resizer(spec)
    labels = sample.labels + 1
    fractions = (sample.boxes / np.tile(sample.size[::-1], 2)).astype(np.float32)
    priors = generate_priors(spec)
    some, columns, ready = (torch.from_numpy(x) for x in (fractions, labels, priors.copy()))
    edges = torch.from_numpy(boxes_of.cxcywh_to_xyxy(priors))
    nothing = np.zeros((0, 4), np.float32)

    def see_reference() -> object:
        image, target = photographs[0]
        return resize([image], [target])

    def see_tuned() -> object:
        return tuned.augment(tuned.decode(sample), sample, spec)

    def see_qfgaohao() -> object:
        image = qfgaohao.decode(sample)
        return qfgaohao.augment(image, sample.boxes, labels, SIZE, generator)

    stages: dict[str, dict[str, Callable[[], object]]] = {
        'decode': {
            OURS: partial(load_image, sample),
            TUNED: partial(tuned.decode, sample),
            REFERENCE: partial(reference.decode, sample),
            QFGAOHAO: partial(qfgaohao.decode, sample),
        },
        'decode, augment, resize': {
            OURS: partial(augment, [sample], 0, spec, SIZE, config, generator),
            TUNED: see_tuned,
            REFERENCE: see_reference,
            QFGAOHAO: see_qfgaohao,
        },
        'match priors': {
            OURS: partial(
                encode_targets,
                fractions,
                sample.labels,
                nothing,
                priors,
                spec.variances,
                MatchingConfig(),
            ),
            'torchvision, both': partial(reference.match, some, columns, edges, MatchingConfig()),
            QFGAOHAO: partial(qfgaohao.match, some, columns, ready, MatchingConfig()),
        },
    }
    for stage, functions in stages.items():
        print(f' {stage}')
        times = measure(functions, rounds)
        for name, timing in times.items():
            print(f'  {name:<24}{timing}   {timing.cpu / times[OURS].cpu:6.2f} x our CPU time')


def _compare(functions: dict[str, Callable[[], object]], rounds: int, num_images: int) -> None:
    """Print images a second."""
    times = measure(functions, rounds)
    for name, timing in times.items():
        rate, best = num_images / timing.median, num_images / timing.best
        print(
            f'  {name:<24}{rate:8.1f} ({best:.1f}) a second, {num_images / timing.cpu:8.1f} a CPU '
            f'second   {timing.cpu / times[OURS].cpu:6.2f} x our CPU time'
        )
