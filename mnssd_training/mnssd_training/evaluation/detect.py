"""Annotated images to detections, through the resizing and the post-process that fly."""

from collections.abc import Callable, Sequence

from mnssd_perception.ssd import (
    Detections,
    postprocess,
    RawHeads,
    resize_frame,
    resize_transform,
    Thresholds,
)
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.model import MobileNetSsd
import numpy as np
from numpy.typing import NDArray
import torch

# Average precision needs the doubtful detections too.
SCORING = Thresholds(score=0.01)

BATCH = 8  # images; more gain nothing on a CPU, and little on a GPU beside the post-process

Progress = Callable[[int], object]


def detect_model(
    model: MobileNetSsd,
    samples: Sequence[Sample],
    progress: Progress | None = None,
    *,
    thresholds: Thresholds = SCORING,
    batch_size: int = BATCH,
) -> list[Detections]:
    """
    Look at every image with a network in PyTorch.

    The network sees several images at once; the rest is done for each as on the drone.

    :param model: in evaluation mode, on any device.
    :param samples: the images.
    :param progress: is called with the number of images done since the last call.
    :param thresholds: which detections are reported.
    :param batch_size: images that the network sees at once.
    :return: the detections of each.
    """
    spec = model.spec
    device = next(model.parameters()).device
    found: list[Detections] = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        plans = [resize_transform(sample.size, spec.input_size, spec.resize) for sample in batch]
        images = np.stack(
            [resize_frame(load_image(sample), plan) for sample, plan in zip(batch, plans)]
        )
        with torch.inference_mode():
            heads = model(torch.from_numpy(images).to(device))
        logits, offsets = (head.float().cpu().numpy() for head in heads)
        found += [
            postprocess(RawHeads(*one), spec, plan, thresholds)
            for *one, plan in zip(logits, offsets, plans)
        ]
        if progress:
            progress(len(batch))
    return found


def detect_all(
    detect: Callable[[NDArray[np.uint8]], Detections],
    samples: Sequence[Sample],
    progress: Progress | None = None,
) -> list[Detections]:
    """
    Look at every image, one at a time.

    :param detect: finds the objects in an ``(H, W, 3)`` uint8 RGB image.
    :param samples: the images.
    :param progress: is called with the number of images done since the last call.
    :return: the detections of each.
    """
    found = []
    for sample in samples:
        found.append(detect(load_image(sample)))
        if progress:
            progress(1)
    return found
