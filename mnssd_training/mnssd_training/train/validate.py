"""Evaluate a network on the validation set, divided among the processes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
import re
from typing import Any

from lightning_fabric import Fabric
from mnssd_perception.detector import Detector
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation import detect_samples, evaluate_detections, scores_to_json, SCORING
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.train.distributed import all_gather_objects, raise_on_all_ranks


def validate(
    fabric: Fabric,
    model: MobileNetSsd,
    samples: Sequence[Sample],
    progress: Callable[[int], object] | None = None,
    groups: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[Detections]]:
    """
    Evaluate a network in evaluation mode.

    :param progress: is called with the number of images done since the last call.
    :param groups: parts of the set to score as well, each by a regular expression that is searched
        for in the names of its images.
    :return: :func:`scores_to_json`, with those of the groups under ``groups`` by name, and the
        detections of each image; the same on all ranks.
    """
    rank, world_size = fabric.global_rank, fabric.world_size
    detector = Detector(TorchEngine(model), SCORING)
    share: list[Detections] = []
    error = None
    try:
        share = detect_samples(detector, samples[rank::world_size], progress)
    except MnssdError as caught:
        error = caught
    raise_on_all_ranks(fabric, error)
    shares = all_gather_objects(fabric, share)
    detections = [shares[index % world_size][index // world_size] for index in range(len(samples))]
    # Computed on one rank, so that all compare the same bits.
    metrics = None
    if rank == 0:

        def score(pattern: str = '') -> dict[str, Any]:
            is_in = [bool(re.search(pattern, sample.name)) for sample in samples]
            part = list(compress(samples, is_in)), list(compress(detections, is_in))
            return scores_to_json(evaluate_detections(*part, detector.class_names))

        metrics = score()
        if groups:
            metrics['groups'] = {name: score(pattern) for name, pattern in groups.items()}
    return fabric.broadcast(metrics), detections


def monitored_score(metrics: dict[str, Any], monitor: str) -> float:
    """Pick the score that chooses the best checkpoint, in [0, 1]; 0 where it is undefined."""
    return float((metrics['coco']['ap'] if monitor == 'ap' else metrics['map50']) or 0.0)
