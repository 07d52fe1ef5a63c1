"""Choose the training images on which statistics of a network are measured."""

from collections.abc import Iterator

from mnssd_training.data.dataset import TrainingSet
import numpy as np
import torch

NUM_IMAGES = 256
BATCH_SIZE = 16  # large enough for the statistics of a batch


def sample_batches(
    dataset: TrainingSet,
    size: tuple[int, int],
    num_images: int = NUM_IMAGES,
    batch_size: int = BATCH_SIZE,
) -> Iterator[torch.Tensor]:
    """
    Yield images of the first epoch, spread over a training set, as training sees them.

    :param size: (height, width) of the network input, pixels.
    :return: ``(B, H, W, 3)`` uint8 RGB.
    """
    num = min(num_images, len(dataset))
    indices = [index * len(dataset) // num for index in range(num)]
    for start in range(0, num, batch_size):
        images = [dataset[0, index, size][1] for index in indices[start : start + batch_size]]
        yield torch.from_numpy(np.stack(images))
