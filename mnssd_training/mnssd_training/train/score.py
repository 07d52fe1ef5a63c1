"""Score a network on images that the processes share."""

from collections.abc import Callable, Sequence
from typing import Any

from lightning_fabric import Fabric
from mnssd_perception.detector import Detector
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation import (
    detect_samples,
    evaluate_detections,
    scores_to_json,
    SCORING,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.train.devices import raise_on_all_ranks
import torch

Scores = dict[str, Any]


def score(
    fabric: Fabric,
    model: MobileNetSsd,
    samples: Sequence[Sample],
    progress: Callable[[int], object] | None = None,
) -> tuple[Scores, list[Detections]]:
    """
    Score a network.

    :param fabric: each process detects in its share of the images.
    :param model: in evaluation mode.
    :param progress: see :func:`detect_samples`.
    :return: see :func:`scores_to_json`, and the detections of each image; the same in
        all processes.
    """
    rank, world = fabric.global_rank, fabric.world_size
    detector = Detector(TorchEngine(model), SCORING)
    share: list[Detections] = []
    error = None
    try:
        share = detect_samples(detector, samples[rank::world], progress)
    except MnssdError as caught:
        error = caught
    raise_on_all_ranks(fabric, error)
    shares = [share]
    if world > 1:
        shares = [[] for _ in range(world)]
        torch.distributed.all_gather_object(shares, share)
    detections = [shares[index % world][index // world] for index in range(len(samples))]
    # One process counts, so that all go by the same numbers to the last bit.
    scores = None
    if rank == 0:
        scores = scores_to_json(evaluate_detections(samples, detections, detector.class_names))
    return fabric.broadcast(scores), detections


def score_of(scores: Scores, monitor: str) -> float:
    """
    Pick the score that a run goes by.

    :param scores: see :func:`evaluate_detections`.
    :param monitor: ``map50`` or ``ap``.
    :return: in [0, 1]; 0 where there is none.
    """
    value = scores['coco']['ap'] if monitor == 'ap' else scores['map50']
    return float(value or 0.0)
