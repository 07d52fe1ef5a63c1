"""
Raw heads to detections, the cheap test first.

softmax_c >= t implies logit_c - logit_background >= log(t / (1 - t)), because the background and
class c together hold at most all of the probability. That test needs no exponential and leaves few
survivors; softmax, threshold, decoding and suppression see only those.
"""

from dataclasses import dataclass
import math
from numbers import Integral, Real

from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd.coding import decode
from mnssd_perception.ssd.detections import Detections
from mnssd_perception.ssd.heads import RawHeads
from mnssd_perception.ssd.nms import suppress
from mnssd_perception.ssd.priors import prior_boxes
from mnssd_perception.ssd.resize import Resizing
from mnssd_perception.ssd.spec import ModelSpec
import numpy as np
from numpy.typing import NDArray

__all__ = ['postprocess', 'Selection']

# The gate is computed in float32: it opens this much too early rather than a rounding too late.
GATE_SLACK = 1e-4


@dataclass(frozen=True)
class Selection:
    """
    Which detections are wanted.

    :ivar score_threshold: smallest softmax score, greater than 0 and less than 1.
    :ivar iou_threshold: largest IoU of two detections of one class, 0 to 1.
    :ivar max_detections: largest number in an image, at most ``max_candidates``.
    :ivar max_candidates: largest number that goes into suppression, best first.
    :ivar labels: the wanted labels; None for all.
    """

    score_threshold: float = 0.35
    iou_threshold: float = 0.5
    max_detections: int = 100
    max_candidates: int = 2000
    labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what selects nothing or everything."""
        kinds = {
            'score_threshold': Real,
            'iou_threshold': Real,
            'max_detections': Integral,
            'max_candidates': Integral,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind):
                whole = 'a whole number' if kind is Integral else 'a number'
                raise SettingsError(f'{name}: expected {whole}, got {value!r}')
        if not 0 < self.score_threshold < 1:
            raise SettingsError(
                f'score_threshold: expected more than 0 and less than 1, '
                f'got {self.score_threshold}'
            )
        if not 0 <= self.iou_threshold <= 1:
            raise SettingsError(f'iou_threshold: expected 0 to 1, got {self.iou_threshold}')
        if not 1 <= self.max_detections <= self.max_candidates:
            raise SettingsError(
                f'max_detections: expected 1 to {self.max_candidates}, got {self.max_detections}'
            )


def postprocess(
    heads: RawHeads, spec: ModelSpec, plan: Resizing, selection: Selection
) -> Detections:
    """
    Find the objects in the raw heads of one image.

    A NaN in the heads is no detection.

    :param heads: of the P priors of ``spec``.
    :param spec: the model.
    :param plan: how the frame was brought to the network.
    :param selection: which detections are wanted.
    :return: detections in pixels of the frame, best first.
    """
    with np.errstate(invalid='ignore', over='ignore'):  # a network that diverged
        prior, label, score = _candidates(heads.logits, selection)
        boxes = decode(heads.offsets[prior], prior_boxes(spec)[prior], spec.variances)
        boxes = plan.to_source(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = (sides > 0).all(axis=1)
    boxes, label, score = boxes[seen], label[seen], score[seen]
    best = np.flatnonzero(suppress(boxes, label, selection.iou_threshold))
    best = best[: selection.max_detections]
    return Detections(boxes[best], score[best], label[best])


def _candidates(
    logits: NDArray[np.float32], selection: Selection
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Choose (prior, label, score) of what scores enough, best first."""
    threshold = selection.score_threshold
    margin = np.float32(math.log(threshold / (1 - threshold)) - GATE_SLACK)
    passed = logits >= logits[:, :1] + margin  # one sweep over contiguous memory
    passed[:, 0] = False
    hit = np.flatnonzero(passed) // logits.shape[1]
    hit = hit[np.diff(hit, prepend=-1) > 0]
    survivors = logits[hit]
    weights = np.exp(survivors - survivors.max(axis=1, keepdims=True, initial=-np.inf))
    scores = weights[:, 1:] / weights.sum(axis=1, keepdims=True)
    if selection.labels is not None:
        unwanted = np.ones(scores.shape[1], bool)
        unwanted[list(selection.labels)] = False
        scores[:, unwanted] = 0
    row, label = np.nonzero(scores >= threshold)
    score = scores[row, label]
    order = np.argsort(-score, kind='stable')[: selection.max_candidates]
    return hit[row[order]], label[order], score[order]
