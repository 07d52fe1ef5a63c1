"""Samples to batches of network inputs and ready targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import hashlib

from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import Matching, ModelSpec, prior_boxes, targets
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.data.transforms import augment, Augmentation
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import Dataset, Sampler

__all__ = ['Batch', 'collate', 'EpochSampler', 'seed_of', 'TrainingSet']

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
    worker makes it, nor when. An item is asked for by (epoch, index).
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: ModelSpec,
        augmentation: Augmentation | None,
        matching: Matching,
        seed: int,
    ) -> None:
        self._samples = samples
        self._spec = spec
        self._augmentation = augmentation or Augmentation(
            zoom_out=0, crop=0, horizontal_flip=0, brightness=0, contrast=0, saturation=0, hue=0
        )
        self._matching = matching
        self._seed = seed

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._samples)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Item] | MnssdError:
        """
        Make the items of a batch.

        An error is handed over and not raised, because torch would lose its type and its words on
        the way out of a worker.
        """
        try:
            return [self[key] for key in keys]
        except MnssdError as error:
            return error

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Make the (epoch, index) item: name, image, classes, offsets."""
        epoch, index = key
        sample = self._samples[index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self._seed, epoch, sample.name))
            seen = augment(load_image(sample), sample, self._spec, self._augmentation)
        goal = targets(
            seen.boxes,
            seen.labels,
            seen.ignore,
            prior_boxes(self._spec),
            self._spec.variances,
            self._matching,
        )
        return sample.name, seen.image, goal.classes, goal.offsets


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


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """
    The batches of one epoch, from any batch on.

    :param num_samples: size of the set.
    :param batch_size: samples a batch; the last, smaller one is left out.
    :param epoch: which shuffle.
    :param seed: of the run.
    :param start: batches to leave out, when an epoch is resumed.
    """

    def __init__(
        self, num_samples: int, batch_size: int, epoch: int, seed: int, start: int = 0
    ) -> None:
        order = np.random.default_rng(seed_of(seed, 'order', epoch)).permutation(num_samples)
        whole = num_samples // batch_size * batch_size
        self._batches = order[:whole].reshape(-1, batch_size)[start:]
        self._epoch = epoch

    def __len__(self) -> int:
        """Count the batches left."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give the (epoch, index) keys of each batch."""
        for batch in self._batches:
            yield [(self._epoch, int(index)) for index in batch]
