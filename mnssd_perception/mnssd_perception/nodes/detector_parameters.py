"""The parameters of the detector node."""

from dataclasses import dataclass
from typing import Any

from mnssd_perception.ros.parameters import parameter
from mnssd_perception.ssd import Thresholds
from mnssd_perception.ssd.thresholds import MAX_CANDIDATES


@dataclass(frozen=True)
class DetectorParameters:
    """What can be set on the detector; those that are not read-only change while it runs."""

    autostart: bool = parameter(
        True, 'configure and activate at the start, without a lifecycle manager', read_only=True
    )
    bundle: str = parameter(
        '', 'path of the model bundle; empty for the one that is shipped', read_only=True
    )
    bundle_digest: str = parameter(
        '', 'refuse every bundle but the one with this digest, "sha256:" and the SHA-256 of its '
        'manifest.json, as ~/status shows it; empty for any bundle', read_only=True,
    )  # fmt: skip
    engine: str = parameter(
        'auto', 'name of the inference engine; auto takes the fastest that is here', read_only=True
    )
    threads: int = parameter(
        0, 'threads of the engine; 0 leaves it to the engine', minimum=0, maximum=256,
        read_only=True,
    )  # fmt: skip
    spinning: bool = parameter(
        False, 'let idle engine threads spin: faster by little, at the price of a busy CPU',
        read_only=True,
    )  # fmt: skip
    warmup: int = parameter(
        3, 'images to run before the first frame, so that it is not slow', minimum=0, maximum=1000,
        read_only=True,
    )  # fmt: skip
    engine_timeout: float = parameter(
        1.0, 'report the engine as hung when a frame takes longer [s]', minimum=0.1,
        maximum=3600.0,
    )  # fmt: skip
    diagnostics_period: float = parameter(
        1.0, 'time between two reports [s]', minimum=0.1, maximum=3600.0, read_only=True
    )
    score_threshold: float = parameter(
        Thresholds.score, 'least score of a detection, above 0 and below 1; that of the bundle '
        'unless set', minimum=0.0, maximum=1.0,
    )  # fmt: skip
    iou_threshold: float = parameter(
        Thresholds.iou, 'overlap (IoU) above which the worse of two boxes is dropped; that of the '
        'bundle unless set', minimum=0.0, maximum=1.0,
    )  # fmt: skip
    max_detections: int = parameter(
        Thresholds.max_detections, 'most detections in one image, the best first; that of the '
        'bundle unless set', minimum=1, maximum=MAX_CANDIDATES,
    )  # fmt: skip
    class_filter: tuple[str, ...] = parameter((), 'names of the wanted classes; empty for all')
    max_age_ms: float = parameter(
        0.0, 'drop frames older than this when their turn comes [ms]; 0 drops none; needs a '
        'camera that stamps with the same clock', minimum=0.0, maximum=1e6,
    )  # fmt: skip


def parameters_of(thresholds: Thresholds) -> dict[str, Any]:
    """
    Name the parameters that hold thresholds.

    :param thresholds: of a bundle.
    :return: parameter to value.
    """
    return {
        'score_threshold': float(thresholds.score),
        'iou_threshold': float(thresholds.iou),
        'max_detections': int(thresholds.max_detections),
    }


def thresholds_of(parameters: DetectorParameters) -> Thresholds:
    """
    Pick the thresholds.

    :param parameters: of the node.
    :return: the thresholds.
    :raises SettingsError: when a value is out of range.
    """
    return Thresholds(
        parameters.score_threshold, parameters.iou_threshold, parameters.max_detections
    )
