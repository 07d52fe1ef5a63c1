"""
Keep decoded training images in memory.

The loader's workers are forked: they share the images with the process that decoded them, and
never copy them, because nobody writes to them.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
import os

from mnssd_training.data.sample import load_image, Sample
import numpy as np
from numpy.typing import NDArray

CHUNK = 64  # images that are decoded beyond the limit at most
GIBI = 2**30


def cache_images(samples: Sequence[Sample], limit: float) -> tuple[list[Sample], str]:
    """
    Decode images in all cores, and keep as many as fit, from the first.

    :param limit: of the memory that they take, GiB.
    :return: the samples, those that fit with their pixels; and a note on the memory taken.
    :raises DatasetError: naming the image that cannot be read.
    """
    cached: list[Sample] = []
    num_bytes = 0
    rest = iter(samples)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while chunk := list(islice(rest, CHUNK)):
            for sample, pixels in zip(chunk, pool.map(_decode, chunk)):
                if num_bytes + pixels.nbytes > limit * GIBI:
                    note = f'{len(cached)} of {len(samples)} images, the limit is {limit:g} GiB'
                    kept = f'{num_bytes / GIBI:.2f} GiB of decoded images in memory: {note}'
                    return [*cached, *samples[len(cached) :]], kept
                num_bytes += pixels.nbytes
                cached.append(replace(sample, pixels=pixels))
    return cached, f'{num_bytes / GIBI:.2f} GiB of decoded images in memory: all {len(cached)}'


def _decode(sample: Sample) -> NDArray[np.uint8]:
    """Decode an image to ``(H, W, 3)`` RGB, or ``(H, W)`` if it is grey; read-only."""
    image = load_image(sample)
    is_grey = (image == image[..., :1]).all()
    pixels = np.ascontiguousarray(image[..., 0]) if is_grey else image
    pixels.flags.writeable = False
    return pixels
