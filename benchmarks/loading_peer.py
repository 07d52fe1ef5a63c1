"""The dataset, the loader and the priors that the peers of the loading benchmark share."""

from collections.abc import Callable, Sequence
from typing import Any

from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.data import Sample
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import box_convert

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images, classes, offsets


class PeerDataset(Dataset[Any]):
    """Samples, each passed through ``make_item``."""

    def __init__(self, samples: Sequence[Sample], make_item: Callable[[Sample], Any]) -> None:
        self._samples, self._make_item = samples, make_item

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        """Read, augment and match one sample."""
        return self._make_item(self._samples[index])


def shuffled_loader(
    dataset: PeerDataset, batch_size: int, workers: int, collate: Any = None
) -> DataLoader[Any]:
    """Make a loader of one shuffled epoch without its last, smaller batch."""
    return DataLoader(
        dataset, batch_size, shuffle=True, drop_last=True, num_workers=workers, collate_fn=collate
    )


def priors_in_pixels(spec: ModelSpec) -> torch.Tensor:
    """Return the priors, ``(P, 4)`` float32 xyxy, pixels of the network input."""
    scale = np.array(spec.input_size[::-1] * 2, np.float32)
    return box_convert(torch.from_numpy(generate_priors(spec) * scale), 'cxcywh', 'xyxy')
