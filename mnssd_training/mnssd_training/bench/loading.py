"""
Photographs to batches a second, against two rivals, alone and in a training loop.

All see the same photographs, augment as strongly (photometric distortion, zoom-out, IoU crop,
flip: Liu et al., SSD, section 2.2), fill the same network input and match the same priors.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Matching, ModelSpec, prior_boxes, targets
from mnssd_training.bench import qfgaohao_loading as qfgaohao
from mnssd_training.bench import torchvision_loading as reference
from mnssd_training.bench.timing import measure
from mnssd_training.config import AugmentationConfig, LossConfig, ModelConfig
from mnssd_training.data import read_voc, Sample
from mnssd_training.data.dataset import collate, EpochSampler, TrainingSet
from mnssd_training.data.sample import load_image
from mnssd_training.data.transforms import augment
from mnssd_training.data.voc import read_classes
from mnssd_training.errors import ConfigError
from mnssd_training.loss import count_positives, Criterion
from mnssd_training.model import build_model
from mnssd_training.priors import clustered_feature_maps, network_sizes
import numpy as np
import torch
from torch.utils.data import DataLoader

__all__ = ['bench_loading']

OURS, REFERENCE, QFGAOHAO = 'mnssd', 'torchvision reference', 'qfgaohao-style'
ASSETS = Path(__file__).parents[2] / 'test' / 'assets' / 'hit_uav'
SIZE = (320, 320)
STRIDES, PRIORS_A_CELL = (8, 16, 32, 64), (5, 4, 3, 3)
PHOTOGRAPHS = 64  # at least, of an epoch; a worker gets four times as many, for its long start
BATCH_SIZE = 8
STEPS = 2  # of training in a round
STAGE_ROUNDS = 20  # in a round

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images, classes, offsets
Reader = Callable[[Sequence[Sample], ModelSpec, Matching, int, int], Iterator[Batch]]


def bench_loading(root: Path | None = None, rounds: int = 5, workers: int = 0) -> None:
    """
    Print photographs a second and ratios.

    :param root: a folder in the layout of PASCAL VOC with ``classes.txt``; by default the few
        photographs of the tests.
    :param rounds: of measuring; in each, every loader goes through all photographs.
    :param workers: processes of each loader.
    :raises ConfigError: if there is no such folder.
    """
    samples, spec = _read(root or ASSETS, workers)
    readers: dict[str, Reader] = {
        OURS: _batches,
        REFERENCE: reference.batches,
        QFGAOHAO: qfgaohao.batches,
    }
    print(
        f'\n{len(samples)} photographs of {(root or ASSETS).name}, network input {SIZE}, '
        f'{spec.num_priors} priors, {workers} workers, {torch.get_num_threads()} threads'
    )
    _compare_stages(samples[0], spec, STAGE_ROUNDS * rounds)

    def go_through(reader: Reader) -> None:
        for _ in reader(samples, spec, Matching(), BATCH_SIZE, workers):
            pass

    print(f'photographs to batches: median (best) of {rounds} rounds')
    whole = len(samples) // BATCH_SIZE * BATCH_SIZE
    _compare(
        {name: partial(go_through, reader) for name, reader in readers.items()}, rounds, whole
    )

    step, few = _trainer(spec), samples[: STEPS * BATCH_SIZE]

    def train(reader: Reader) -> None:
        for batch in reader(few, spec, Matching(), BATCH_SIZE, workers):
            step(*batch)

    print(f'and to steps of one and the same network: median (best) of {rounds} rounds')
    _compare({name: partial(train, reader) for name, reader in readers.items()}, rounds, len(few))


def _read(root: Path, workers: int) -> tuple[list[Sample], ModelSpec]:
    """Read the photographs and lay out priors for their objects."""
    if not root.is_dir():
        raise ConfigError(f'{root}: no such folder; name one in the layout of VOC with --data')
    own = [*read_voc(root, 'train'), *read_voc(root, 'val')]
    times = -(-PHOTOGRAPHS * max(1, 4 * workers) // len(own))
    levels = clustered_feature_maps(network_sizes(own, SIZE), SIZE, STRIDES, PRIORS_A_CELL, seed=0)
    return own * times, ModelSpec(SIZE, read_classes(root), levels)


def _batches(
    samples: Sequence[Sample], spec: ModelSpec, matching: Matching, batch_size: int, workers: int
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
    """Make what trains a step, on uint8 photographs or on floats that are ready."""
    model = build_model(spec, ModelConfig()).train()
    criterion, priors = Criterion(LossConfig(), spec), torch.from_numpy(prior_boxes(spec).copy())
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
    """Print what each stage of one photograph costs."""
    print(f'one photograph with {len(sample.boxes)} objects: median (best) of {rounds} rounds')
    config, generator = AugmentationConfig(), np.random.default_rng(0)
    photographs, resize = reference.Photographs([sample], spec), reference.resizer(spec)
    labels = sample.labels + 1
    fractions = (sample.boxes / np.tile(sample.size[::-1], 2)).astype(np.float32)
    priors = prior_boxes(spec)
    some, columns, ready = (torch.from_numpy(x) for x in (fractions, labels, priors.copy()))
    edges = torch.from_numpy(boxes_of.cxcywh_to_xyxy(priors))
    nothing = np.zeros((0, 4), np.float32)

    def see_reference() -> object:
        image, target = photographs[0]
        return resize([image], [target])

    def see_qfgaohao() -> object:
        image = qfgaohao.decode(sample)
        return qfgaohao.augment(image, sample.boxes, labels, SIZE, generator)

    stages: dict[str, dict[str, Callable[[], object]]] = {
        'decode': {
            OURS: partial(load_image, sample),
            REFERENCE: partial(reference.decode, sample),
            QFGAOHAO: partial(qfgaohao.decode, sample),
        },
        'decode, augment, resize': {
            OURS: partial(augment, [sample], 0, spec, SIZE, config, generator),
            REFERENCE: see_reference,
            QFGAOHAO: see_qfgaohao,
        },
        'match priors': {
            OURS: partial(
                targets, fractions, sample.labels, nothing, priors, spec.variances, Matching()
            ),
            REFERENCE: partial(reference.match, some, columns, edges, Matching()),
            QFGAOHAO: partial(qfgaohao.match, some, columns, ready, Matching()),
        },
    }
    for stage, functions in stages.items():
        print(f' {stage}')
        times = measure(functions, rounds)
        for name, timing in times.items():
            print(f'  {name:<24}{timing}   {timing.median / times[OURS].median:6.2f} x ours')


def _compare(
    functions: dict[str, Callable[[], object]], rounds: int, num_photographs: int
) -> None:
    """Print photographs a second."""
    times = measure(functions, rounds)
    for name, timing in times.items():
        rate, best = num_photographs / timing.median, num_photographs / timing.best
        ratio = timing.median / times[OURS].median
        print(f'  {name:<24}{rate:8.1f} ({best:.1f}) a second   ours {ratio:6.2f} x as many')
