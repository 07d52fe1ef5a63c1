"""Samples to batches of network inputs and ready targets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import hashlib

from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import encode_targets, generate_priors, MatchingConfig, ModelSpec
from mnssd_training.config.augmentation import AugmentationConfig
from mnssd_training.data.sample import Sample
from mnssd_training.data.transforms import augment
from mnssd_training.priors import spec_at
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import Dataset, Sampler

Size = tuple[int, int]  # (height, width) of the network input, pixels
Key = tuple[int, int, Size]  # (epoch, index of the sample, size)
Item = tuple[str, NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Batch:
    """
    What one training step needs.

    :ivar images: ``(B, H, W, 3)`` uint8 RGB.
    :ivar classes: ``(B, P)`` int64; 0 background, 1 + label for an object, -1 left out.
    :ivar offsets: ``(B, P, 4)`` float32.
    :ivar names: of the B samples.
    """

    images: torch.Tensor
    classes: torch.Tensor
    offsets: torch.Tensor
    names: tuple[str, ...]

    @property
    def size(self) -> Size:
        """Tell the (height, width) of the network input, pixels."""
        return self.images.shape[1], self.images.shape[2]

    def to(self, device: torch.device) -> 'Batch':
        """
        Move the batch.

        :param device: where to.
        :return: the same batch there.
        """
        return Batch(
            self.images.to(device, non_blocking=True),
            self.classes.to(device, non_blocking=True),
            self.offsets.to(device, non_blocking=True),
            self.names,
        )

    def pin_memory(self) -> 'Batch':
        """
        Move the batch to memory that a GPU reads by itself; the loader calls this.

        :return: the same batch there.
        """
        return Batch(
            self.images.pin_memory(),
            self.classes.pin_memory(),
            self.offsets.pin_memory(),
            self.names,
        )


def seed_of(*parts: object) -> int:
    """Derive a 63-bit seed from what identifies a random draw."""
    digest = hashlib.sha256('/'.join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], 'little') >> 1


class TrainingSet(Dataset[Item]):
    """
    Augmented samples with their targets.

    Every draw is seeded by (seed, epoch, name of the sample), so that it does not matter which
    worker makes it, nor when. An item is asked for by (epoch, index, size), the size being the
    (height, width) of the network input of its batch, pixels.

    :param samples: the images.
    :param spec: the model; its own input size is what scales are relative to.
    :param augmentation: what may happen; None for what the drone sees.
    :param matching: which prior answers for which object.
    :param seed: of the run.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: ModelSpec,
        augmentation: AugmentationConfig | None,
        matching: MatchingConfig,
        seed: int,
    ) -> None:
        self._samples = samples
        self._spec = spec
        self._augmentation = augmentation
        self._matching = matching
        self._seed = seed

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._samples)

    def __getitems__(self, keys: Sequence[Key]) -> list[Item] | MnssdError:
        """
        Make the items of a batch.

        An error is handed over and not raised, because torch would lose its type and its words on
        the way out of a worker.
        """
        try:
            return [self[key] for key in keys]
        except MnssdError as error:
            return error

    def __getitem__(self, key: Key) -> Item:
        """Make the (epoch, index, size) item: name, image, classes, offsets."""
        epoch, index, size = key
        name = self._samples[index].name
        generator = np.random.default_rng(seed_of(self._seed, epoch, name))
        seen = augment(self._samples, index, self._spec, size, self._augmentation, generator)
        target = encode_targets(
            seen.boxes,
            seen.labels,
            seen.ignore,
            generate_priors(spec_at(self._spec, size)),
            self._spec.variances,
            self._matching,
        )
        return name, seen.image, target.classes, target.offsets


def collate(items: Sequence[Item] | MnssdError) -> Batch | MnssdError:
    """
    Stack items to a batch.

    :param items: of :class:`TrainingSet`, or the error that it met.
    :return: the batch, or the error.
    """
    if isinstance(items, MnssdError):
        return items
    names, images, classes, offsets = zip(*items)
    return Batch(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(classes)),
        torch.from_numpy(np.stack(offsets)),
        tuple(names),
    )


class EpochSampler(Sampler[list[Key]]):
    """
    The batches of one epoch, from any batch on, or one process's share of each.

    The order does not depend on the number of processes.

    :param num_samples: size of the set.
    :param batch_size: samples a batch, of all processes together; the last, smaller one is left
        out.
    :param epoch: which shuffle.
    :param seed: of the run.
    :param start: batches to leave out, when an epoch is resumed.
    :param rank: of this process; it takes ``batch[rank::world]``.
    :param world: number of processes.
    :param size_of: index of a batch within the epoch to (height, width) of its network input.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        epoch: int,
        seed: int,
        *,
        size_of: Callable[[int], Size],
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not 0 <= rank < world <= batch_size:
            raise ValueError(
                f'expected 0 <= rank < world <= batch size, got rank {rank} of {world} processes '
                f'for {batch_size} samples a batch'
            )
        order = np.random.default_rng(seed_of(seed, 'order', epoch)).permutation(num_samples)
        whole = num_samples // batch_size * batch_size
        self._batches = order[:whole].reshape(-1, batch_size)[start:, rank::world]
        self._epoch, self._start, self._size_of = epoch, start, size_of

    def __len__(self) -> int:
        """Count the batches left."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Key]]:
        """Give the (epoch, index, size) keys of each batch."""
        for number, batch in enumerate(self._batches, self._start):
            size = self._size_of(number)
            yield [(self._epoch, int(index), size) for index in batch]
