"""
Decode raw SSD heads into detections, with the cheap test first.

softmax_c >= t implies logit_c - logit_background >= log(t / (1 - t)), because the background and
class c together hold at most all of the probability. That test needs no exponential and leaves few
survivors; softmax, threshold, decoding and NMS see only those.
"""

from collections.abc import Sequence
import math

from mnssd_perception.ssd.box_coder import decode_boxes
from mnssd_perception.ssd.detections import Detections, RawHeads
from mnssd_perception.ssd.nms import nms
from mnssd_perception.ssd.priors import generate_priors
from mnssd_perception.ssd.resize import ResizeTransform
from mnssd_perception.ssd.spec import ModelSpec
from mnssd_perception.ssd.thresholds import MAX_CANDIDATES, Thresholds
import numpy as np
from numpy.typing import NDArray

# The gate is computed in float32: it opens this much too early rather than a rounding too late.
GATE_SLACK = 1e-4


def postprocess(
    heads: RawHeads,
    spec: ModelSpec,
    transform: ResizeTransform,
    thresholds: Thresholds,
    labels: Sequence[int] | None = None,
    *,
    max_candidates: int = MAX_CANDIDATES,
) -> Detections:
    """
    Decode the raw heads of one image.

    A NaN in the heads is no detection.

    :param transform: how the image was resized to the network input.
    :param labels: of the classes that are reported; None for all.
    :param max_candidates: detections that go into NMS, best first.
    :return: detections in pixels of the image, best first.
    """
    with np.errstate(invalid='ignore', over='ignore'):  # a network that diverged
        prior, label, score = _candidates(heads.logits, thresholds.score, labels, max_candidates)
        boxes = decode_boxes(heads.offsets[prior], generate_priors(spec)[prior], spec.variances)
        boxes = transform.to_source(boxes)
    is_inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, label, score = boxes[is_inside], label[is_inside], score[is_inside]
    best = np.flatnonzero(nms(boxes, label, thresholds.iou))[: thresholds.max_detections]
    return Detections(boxes[best], score[best], label[best])


def _candidates(
    logits: NDArray[np.float32],
    threshold: float,
    labels: Sequence[int] | None,
    max_candidates: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Choose (prior, label, score) of what scores enough, best first."""
    margin = np.float32(math.log(threshold / (1 - threshold)) - GATE_SLACK)
    passed = logits >= logits[:, :1] + margin  # one sweep over contiguous memory
    passed[:, 0] = False
    prior = np.flatnonzero(passed) // logits.shape[1]
    prior = prior[np.diff(prior, prepend=-1) > 0]
    survivors = logits[prior]
    weights = np.exp(survivors - survivors.max(axis=1, keepdims=True, initial=-np.inf))
    scores = weights[:, 1:] / weights.sum(axis=1, keepdims=True)
    if labels is not None:
        unwanted = np.ones(scores.shape[1], bool)
        unwanted[list(labels)] = False
        scores[:, unwanted] = 0
    row, label = np.nonzero(scores >= threshold)
    score = scores[row, label]
    order = np.argsort(-score, kind='stable')[:max_candidates]
    return prior[row[order]], label[order], score[order]
