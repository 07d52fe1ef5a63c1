"""
Time the post-process of (13502, 21) heads against per-class NumPy, OpenCV and torchvision.

The heads are synthetic but shaped like real ones: eight objects that about thirty priors detect,
and a haze of doubtful priors. Each peer needs the softmax and the decoded boxes of all priors:
from torch for torchvision, from NumPy for those that run on a drone without torch. "Full" times a
peer with that work, as mnssd is timed; "NMS only" gives it the softmax and the boxes for free.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import (
    decode_boxes,
    Detections,
    encode_boxes,
    generate_priors,
    ModelSpec,
    original_feature_maps,
    postprocess,
    RawHeads,
    resize_transform,
    Thresholds,
)
import numpy as np
from numpy.typing import NDArray
import torch
from torchvision.ops import batched_nms

from benchmarks.timing import measure

CLASSES = tuple(f'class {number}' for number in range(20))
SIZE, FRAME = (300, 300), (720, 1280)
IOU, MAX_DETECTIONS = 0.5, 100

Prepared = tuple[Any, Any]  # scores (P, C) and boxes (P, 4), pixels of the frame
Arrays = tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]
]  # boxes, scores, labels


def synthetic_heads(spec: ModelSpec, seed: int) -> RawHeads:
    """Make heads with 8 objects, and with 1900 doubtful priors at scores of 0.01 to 0.06."""
    generator = np.random.default_rng(seed)
    priors = generate_priors(spec)
    logits = generator.normal(0, 0.3, (spec.num_priors, spec.num_classes + 1)).astype(np.float32)
    logits[:, 0] += 9.0
    offsets = generator.normal(0, 0.3, (spec.num_priors, 4)).astype(np.float32)
    centre, half = generator.uniform(0.2, 0.8, (8, 2)), generator.uniform(0.06, 0.2, (8, 2))
    objects = np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)
    ious = box_ops.box_iou(box_ops.cxcywh_to_xyxy(priors), objects)
    for index in range(len(objects)):
        nearest = np.argsort(-ious[:, index])[:4]
        logits[nearest, index + 1] = 9.0 + generator.uniform(0.5, 3.0, len(nearest))
        target = np.repeat(objects[index : index + 1], 4, 0)
        exact = encode_boxes(target, priors[nearest], spec.variances)
        offsets[nearest] = exact + generator.normal(0, 0.2, (4, 4)).astype(np.float32)
    doubtful = generator.choice(spec.num_priors, 1900, replace=False)
    columns = generator.integers(1, spec.num_classes + 1, 1900)
    logits[doubtful, columns] = generator.uniform(4.6, 6.2, 1900)
    return RawHeads(logits, offsets)


def bench_postprocess(rounds: int = 200) -> None:
    """Print times and ratios at three score thresholds."""
    spec = ModelSpec(SIZE, CLASSES, original_feature_maps(SIZE))
    heads, transform = synthetic_heads(spec, seed=1), resize_transform(FRAME, SIZE, 'stretch')
    with_torch, with_numpy = partial(_prepare_torch, heads, spec), partial(_prepare, heads, spec)
    peers: dict[str, tuple[Callable[[], Prepared], Callable[..., Arrays]]] = {
        'torchvision batched_nms': (with_torch, _nms_torchvision),
        'cv2.dnn.NMSBoxesBatched': (with_numpy, _nms_opencv),
        'per-class Python NMS': (with_numpy, _nms_per_class),
    }
    print(f'post-process of {heads.logits.shape} heads, median (best) of {rounds} rounds')
    print('full: from raw heads, as mnssd; NMS only: softmax and decoding for free')
    for threshold in (0.35, 0.05, 0.01):
        thresholds = Thresholds(threshold, IOU, MAX_DETECTIONS)
        run_mnssd = partial(postprocess, heads, spec, transform, thresholds, max_candidates=10_000)
        functions: dict[str, Callable[[], object]] = {'mnssd, full': run_mnssd}
        for name, (prepare, nms) in peers.items():
            prepared = prepare()
            _check_agreement(run_mnssd(), nms(prepared, threshold))
            functions[f'{name}, full'] = partial(_prepare_and_nms, prepare, nms, threshold)
            functions[f'{name}, NMS only'] = partial(nms, prepared, threshold)
        candidates = int((with_numpy()[0] >= threshold).sum())
        print(
            f'\nscore threshold {threshold}: {candidates} candidates, '
            f'{len(run_mnssd())} detections'
        )
        timings = measure(functions, rounds)
        reference = timings['mnssd, full'].median
        for name, timing in timings.items():
            print(f'  {name:<34}{timing}   {timing.median / reference:6.2f} x mnssd')


def _prepare_and_nms(
    prepare: Callable[[], Prepared], nms: Callable[..., Arrays], threshold: float
) -> Arrays:
    return nms(prepare(), threshold)


def _prepare(heads: RawHeads, spec: ModelSpec) -> Prepared:
    """Compute the softmax and the boxes of all priors in NumPy."""
    weights = np.exp(heads.logits - heads.logits.max(axis=1, keepdims=True))
    scores = weights[:, 1:] / weights.sum(axis=1, keepdims=True)
    boxes = np.clip(decode_boxes(heads.offsets, generate_priors(spec), spec.variances), 0, 1)
    return scores, boxes * np.array((FRAME[1], FRAME[0]) * 2, np.float32)


def _prepare_torch(heads: RawHeads, spec: ModelSpec) -> Prepared:
    """Compute the softmax and the boxes of all priors in torch, on all cores."""
    priors = torch.from_numpy(generate_priors(spec).copy())
    offsets = torch.from_numpy(heads.offsets)
    scores = torch.from_numpy(heads.logits).softmax(dim=1)[:, 1:]
    centre = priors[:, :2] + offsets[:, :2] * spec.variances[0] * priors[:, 2:]
    half = priors[:, 2:] * (offsets[:, 2:] * spec.variances[1]).exp() / 2
    boxes = torch.cat((centre - half, centre + half), dim=1).clamp(0, 1)
    return scores, boxes * torch.tensor((FRAME[1], FRAME[0]) * 2)


def _select_candidates(prepared: Prepared, threshold: float) -> Arrays:
    scores, boxes = prepared
    rows, labels = np.nonzero(scores >= threshold)
    return boxes[rows], scores[rows, labels], labels


def _keep_best(candidates: Arrays, kept: NDArray[np.int64]) -> Arrays:
    boxes, scores, labels = candidates
    best = kept[np.argsort(-scores[kept])][:MAX_DETECTIONS]
    return boxes[best], scores[best], labels[best]


def _nms_per_class(prepared: Prepared, threshold: float) -> Arrays:
    """Suppress class by class with a loop over boxes, as most nodes do."""
    candidates = boxes, scores, labels = _select_candidates(prepared, threshold)
    kept: list[int] = []
    for label in np.unique(labels):
        order = np.flatnonzero(labels == label)
        order = order[np.argsort(-scores[order])]
        while len(order):
            kept.append(order[0])
            ious = box_ops.box_iou(boxes[order[:1]], boxes[order[1:]])[0]
            order = order[1:][ious <= IOU]
    return _keep_best(candidates, np.array(kept, np.int64))


def _nms_opencv(prepared: Prepared, threshold: float) -> Arrays:
    candidates = boxes, scores, labels = _select_candidates(prepared, threshold)
    boxes_xywh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    kept = cv2.dnn.NMSBoxesBatched(boxes_xywh, scores, labels.astype(np.int32), threshold, IOU)
    return _keep_best(candidates, np.asarray(kept, np.int64).reshape(-1))


def _nms_torchvision(prepared: Prepared, threshold: float) -> Arrays:
    all_scores, all_boxes = prepared
    rows, labels = torch.nonzero(all_scores >= threshold, as_tuple=True)
    boxes, scores = all_boxes[rows], all_scores[rows, labels]
    best = batched_nms(boxes, scores, labels, IOU)[:MAX_DETECTIONS]
    return boxes[best].numpy(), scores[best].numpy(), labels[best].numpy()


def _check_agreement(detections: Detections, peer: Arrays) -> None:
    """Make sure that both do the same work."""
    if len(detections) != len(peer[0]) or not np.allclose(detections.scores, peer[1], atol=1e-4):
        raise AssertionError('the two post-processes disagree: their times cannot be compared')
