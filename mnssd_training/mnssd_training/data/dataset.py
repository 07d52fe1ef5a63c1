"""Load batches of network inputs with encoded targets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import hashlib
from typing import Any

from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config.sections import AssignmentConfig, AugmentationConfig
from mnssd_training.data.assignment import find_candidates, make_targets
from mnssd_training.data.copy_paste import ObjectPool
from mnssd_training.data.sample import Sample
from mnssd_training.data.transforms import augment
from mnssd_training.priors import resize_spec
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import Dataset, Sampler

GOLDEN_RATIO = (5**0.5 - 1) / 2

Size = tuple[int, int]  # (height, width) of the network input, pixels
Key = tuple[int, int, Size]  # (epoch, index of the sample, size)
Item = tuple[Any, ...]  # name, image, classes, offsets; for TAL, boxes, labels and candidates


@dataclass(frozen=True)
class Objects:
    """
    Ground truth that the training step assigns (TAL); images with fewer objects are padded.

    :ivar boxes: ``(B, N, 4)`` float32 xyxy, fractions of the network input.
    :ivar labels: ``(B, N)`` int64 from 0, -1 for padding.
    :ivar candidates: ``(B, N, K)`` int64 indices of priors, -1 for none.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    candidates: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """
    Network inputs and targets of one training step.

    :ivar images: ``(B, H, W, 3)`` uint8 RGB.
    :ivar classes: ``(B, P)`` int64; 0 background, 1 + label for an object, -1 ignored.
    :ivar offsets: ``(B, P, 4)`` float32.
    :ivar objects: for TAL, which leaves classes and offsets to the training step; else None.
    """

    images: torch.Tensor
    classes: torch.Tensor
    offsets: torch.Tensor
    names: tuple[str, ...]
    objects: Objects | None = None

    @property
    def size(self) -> Size:
        """The (height, width) of the network input, pixels."""
        return self.images.shape[1], self.images.shape[2]

    def to(self, device: torch.device) -> 'Batch':
        """Copy the batch to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> 'Batch':
        """Copy the batch to page-locked memory; the loader calls this."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> 'Batch':
        images, classes, offsets = map(function, (self.images, self.classes, self.offsets))
        objects = self.objects
        if objects is not None:
            objects = Objects(*map(function, (objects.boxes, objects.labels, objects.candidates)))
        return Batch(images, classes, offsets, self.names, objects)


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from the parts that identify a random draw."""
    digest = hashlib.sha256('/'.join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], 'little') >> 1


@dataclass(frozen=True, eq=False)
class TrainingSet(Dataset[Item]):
    """
    Augmented samples with their targets.

    Every draw is seeded by (seed, epoch, name of the sample): it does not depend on which worker
    makes it, nor on when. The key of an item is (epoch, index, size), where size is the
    (height, width) of the network input of its batch, pixels. ``index + k * len(samples)`` is the
    k-th repetition of a sample within an epoch, with other random numbers.

    :ivar spec: large-scale jitter is relative to the scale at its input size.
    :ivar augmentation: None for no augmentation.
    :ivar pool: the objects for copy-paste, if any.
    """

    samples: Sequence[Sample]
    spec: ModelSpec
    augmentation: AugmentationConfig | None
    matching: AssignmentConfig
    seed: int
    pool: ObjectPool | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitems__(self, keys: Sequence[Key]) -> list[Item] | MnssdError:
        """Load the items of a batch, or return the error."""
        try:
            return [self[key] for key in keys]
        except MnssdError as error:  # raised out of a worker, torch loses its type and message
            return error

    def __getitem__(self, key: Key) -> Item:
        """Load the (epoch, index, size) item: name, image, classes, offsets; see ``Item``."""
        epoch, index, size = key
        repetition, index = divmod(index, len(self.samples))
        name = self.samples[index].name
        parts = (self.seed, epoch, name, *([repetition] if repetition else []))
        generator = np.random.default_rng(derive_seed(*parts))
        sample = augment(
            self.samples, index, self.spec, size, self.augmentation, generator, self.pool
        )
        spec = resize_spec(self.spec, size)
        target = make_targets(sample, spec, self.matching)
        item = name, sample.image, target.classes, target.offsets
        if self.matching.method != 'tal':
            return item
        candidates = find_candidates(sample.boxes, spec, self.matching.tal_topk)
        return *item, sample.boxes, sample.labels, candidates


def collate(items: Sequence[Item] | MnssdError) -> Batch | MnssdError:
    """Stack the items of :class:`TrainingSet` to a batch; pass on the error that it returned."""
    if isinstance(items, MnssdError):
        return items
    names, *arrays = zip(*items)
    images, classes, offsets = (torch.from_numpy(np.stack(array)) for array in arrays[:3])
    if len(arrays) == 3:
        return Batch(images, classes, offsets, names)
    boxes, labels, candidates = map(_pad, arrays[3:], (0, -1, -1))
    return Batch(images, classes, offsets, names, Objects(boxes, labels, candidates))


def _pad(arrays: Sequence[NDArray[Any]], value: int) -> torch.Tensor:
    """Stack arrays ``(N, ...)`` to ``(B, N, ...)`` with the largest N; fill up with a value."""
    length = max(map(len, arrays))
    padded = np.full((len(arrays), length, *arrays[0].shape[1:]), value, arrays[0].dtype)
    for row, array in zip(padded, arrays):
        row[: len(array)] = array
    return torch.from_numpy(padded)


def _resample(draws: NDArray[np.float64], epoch: int, seed: int) -> NDArray[np.int64]:
    """
    Repeat and leave out samples by systematic resampling (Kitagawa, 1996); ``(N,)`` ascending.

    Each epoch shows a sample ``floor(draws)`` or ``ceil(draws)`` times, and the samples with the
    same weight together as often as expected, give or take one. The offset advances by the golden
    ratio, which spreads the draws of a sample evenly over the epochs.
    """
    generator = np.random.default_rng(derive_seed(seed, 'resampling'))
    order = generator.permutation(len(draws))
    order = order[np.argsort(draws[order], kind='stable')]
    offset = (generator.random() + epoch * GOLDEN_RATIO) % 1
    bounds = np.floor(np.cumsum(draws[order]) + offset).astype(np.int64)
    bounds = np.minimum(bounds, len(draws))  # whatever the rounding errors of the sum
    bounds[-1:] = len(draws)
    counts = np.empty(len(draws), np.int64)
    counts[order] = np.diff(bounds, prepend=0)
    indices = np.repeat(np.arange(len(draws)), counts)
    repetitions = np.arange(len(draws)) - np.repeat(np.cumsum(counts) - counts, counts)
    return indices + repetitions * len(draws)


class EpochSampler(Sampler[list[Key]]):
    """
    The batches of one epoch, or the share of one process of each batch.

    The order does not depend on the number of processes. The last, smaller batch is dropped.

    :param draws: ``(num_samples,)`` expected number of times that an epoch shows each sample, with
        the sum ``num_samples``; None for each once.
    :param batch_size: of all processes together.
    :param size_of: maps the index of a batch within the epoch to the (height, width) of its
        network input.
    :param start: batches to skip when an epoch is resumed.
    :param rank: of this process out of ``world``; it takes ``batch[rank::world]``.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        epoch: int,
        seed: int,
        *,
        size_of: Callable[[int], Size],
        draws: NDArray[np.float64] | None = None,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not 0 <= rank < world <= batch_size:
            raise ValueError(
                f'expected 0 <= rank < world <= batch size, got rank {rank} of {world} processes '
                f'for {batch_size} samples per batch'
            )
        indices = np.arange(num_samples) if draws is None else _resample(draws, epoch, seed)
        order = np.random.default_rng(derive_seed(seed, 'order', epoch)).permutation(indices)
        num_used = num_samples // batch_size * batch_size
        self._batches = order[:num_used].reshape(-1, batch_size)[start:, rank::world]
        self._epoch, self._start, self._size_of = epoch, start, size_of

    def __len__(self) -> int:
        """Return the number of batches that remain."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the (epoch, index, size) keys of each batch."""
        for number, batch in enumerate(self._batches, self._start):
            size = self._size_of(number)
            yield [(self._epoch, int(index), size) for index in batch]
