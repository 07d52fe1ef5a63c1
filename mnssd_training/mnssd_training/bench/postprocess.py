"""
Post-process of (13502, 21) heads against what people use: per-class NumPy, OpenCV, torchvision.

The input is made up but shaped like a real one: eight objects that some thirty priors see, and a
haze of doubtful priors. Each peer needs the softmax and the boxes of all priors: from torch for
torchvision, from NumPy for those that run on a drone without torch. It is timed with that work, as
we are, and without it, as if it were for nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
from mnssd_perception.ssd import boxes as boxes_of
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
from mnssd_training.bench.timing import measure
import numpy as np
from numpy.typing import NDArray
import torch
from torchvision.ops import batched_nms

CLASSES = tuple(f'class {number}' for number in range(20))
SIZE, FRAME = (300, 300), (720, 1280)
IOU, MOST = 0.5, 100

Prepared = tuple[Any, Any]  # scores (P, C) and boxes (P, 4), pixels of the frame
Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def made_up_heads(spec: ModelSpec, seed: int) -> RawHeads:
    """
    Make heads with 8 objects, and with 1900 doubtful priors at scores of 0.01 to 0.06.

    :param spec: the model.
    :param seed: of everything random.
    :return: the heads.
    """
    generator = np.random.default_rng(seed)
    priors = generate_priors(spec)
    logits = generator.normal(0, 0.3, (spec.num_priors, spec.num_classes + 1)).astype(np.float32)
    logits[:, 0] += 9.0
    offsets = generator.normal(0, 0.3, (spec.num_priors, 4)).astype(np.float32)
    centre, half = generator.uniform(0.2, 0.8, (8, 2)), generator.uniform(0.06, 0.2, (8, 2))
    objects = np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)
    ious = boxes_of.box_iou(boxes_of.cxcywh_to_xyxy(priors), objects)
    for index in range(len(objects)):
        near = np.argsort(-ious[:, index])[:4]
        logits[near, index + 1] = 9.0 + generator.uniform(0.5, 3.0, len(near))
        wanted = encode_boxes(
            np.repeat(objects[index : index + 1], 4, 0), priors[near], spec.variances
        )
        offsets[near] = wanted + generator.normal(0, 0.2, (4, 4)).astype(np.float32)
    doubtful = generator.choice(spec.num_priors, 1900, replace=False)
    logits[doubtful, generator.integers(1, spec.num_classes + 1, 1900)] = generator.uniform(
        4.6, 6.2, 1900
    )
    return RawHeads(logits, offsets)


def bench_postprocess(rounds: int = 200) -> None:
    """
    Print times and ratios.

    :param rounds: of measuring.
    """
    spec = ModelSpec(SIZE, CLASSES, original_feature_maps(SIZE))
    heads, plan = made_up_heads(spec, seed=1), resize_transform(FRAME, SIZE, 'stretch')
    with_torch, with_numpy = partial(_prepare_torch, heads, spec), partial(_prepare, heads, spec)
    rivals: dict[str, tuple[Callable[[], Prepared], Callable[..., Found]]] = {
        'torchvision batched_nms': (with_torch, _torchvision),
        'cv2.dnn.NMSBoxesBatched': (with_numpy, _opencv),
        'per-class Python NMS': (with_numpy, _per_class),
    }
    print(f'post-process of {heads.logits.shape} heads, median (best) of {rounds} rounds')
    print('whole: from raw heads, as ours; tail: its softmax and decoding for nothing')
    for threshold in (0.35, 0.05, 0.01):
        ours = partial(
            postprocess,
            heads,
            spec,
            plan,
            Thresholds(threshold, IOU, MOST),
            max_candidates=10_000,
        )
        functions: dict[str, Callable[[], object]] = {'mnssd, whole': ours}
        for name, (prepare, suppress) in rivals.items():
            ready = prepare()
            _check_agreement(ours(), suppress(ready, threshold))
            functions[f'{name}, whole'] = partial(_both, prepare, suppress, threshold)
            functions[f'{name}, tail'] = partial(suppress, ready, threshold)
        candidates = int((with_numpy()[0] >= threshold).sum())
        print(f'\nscore threshold {threshold}: {candidates} candidates, {len(ours())} detections')
        times = measure(functions, rounds)
        own = times['mnssd, whole'].median
        for name, timing in times.items():
            print(f'  {name:<34}{timing}   {timing.median / own:6.2f} x ours')


def _both(
    prepare: Callable[[], Prepared], suppress: Callable[..., Found], threshold: float
) -> Found:
    """Do all of a peer's work."""
    return suppress(prepare(), threshold)


def _prepare(heads: RawHeads, spec: ModelSpec) -> Prepared:
    """Compute the softmax and the boxes of all priors in NumPy, pixels of the frame."""
    weights = np.exp(heads.logits - heads.logits.max(axis=1, keepdims=True))
    scores = weights[:, 1:] / weights.sum(axis=1, keepdims=True)
    boxes = np.clip(decode_boxes(heads.offsets, generate_priors(spec), spec.variances), 0, 1)
    return scores, boxes * np.array((FRAME[1], FRAME[0]) * 2, np.float32)


def _prepare_torch(heads: RawHeads, spec: ModelSpec) -> Prepared:
    """Do the same in torch, on as many cores as it takes."""
    priors, offsets = (
        torch.from_numpy(generate_priors(spec).copy()),
        torch.from_numpy(heads.offsets),
    )
    scores = torch.from_numpy(heads.logits).softmax(dim=1)[:, 1:]
    centre = priors[:, :2] + offsets[:, :2] * spec.variances[0] * priors[:, 2:]
    half = priors[:, 2:] * (offsets[:, 2:] * spec.variances[1]).exp() / 2
    boxes = torch.cat((centre - half, centre + half), dim=1).clamp(0, 1)
    return scores, boxes * torch.tensor((FRAME[1], FRAME[0]) * 2)


def _candidates(ready: Prepared, threshold: float) -> Found:
    """Choose what scores enough."""
    scores, boxes = ready
    row, label = np.nonzero(scores >= threshold)
    return boxes[row], scores[row, label], label


def _per_class(ready: Prepared, threshold: float) -> Found:
    """Suppress class by class with a loop over boxes, as most nodes do."""
    box, score, label = _candidates(ready, threshold)
    kept: list[int] = []
    for one in np.unique(label):
        order = np.flatnonzero(label == one)
        order = order[np.argsort(-score[order])]
        while len(order):
            kept.append(order[0])
            ious = boxes_of.box_iou(box[order[:1]], box[order[1:]])[0]
            order = order[1:][ious <= IOU]
    best = np.array(kept, np.int64)
    best = best[np.argsort(-score[best])][:MOST]
    return box[best], score[best], label[best]


def _opencv(ready: Prepared, threshold: float) -> Found:
    """Suppress with OpenCV."""
    box, score, label = _candidates(ready, threshold)
    wide = np.concatenate((box[:, :2], box[:, 2:] - box[:, :2]), axis=1)
    kept = cv2.dnn.NMSBoxesBatched(wide, score, label.astype(np.int32), threshold, IOU)
    best = np.asarray(kept, np.int64).reshape(-1)
    best = best[np.argsort(-score[best])][:MOST]
    return box[best], score[best], label[best]


def _torchvision(ready: Prepared, threshold: float) -> Found:
    """Suppress with torchvision."""
    scores, boxes = ready
    row, label = torch.nonzero(scores >= threshold, as_tuple=True)
    box, score = boxes[row], scores[row, label]
    best = batched_nms(box, score, label, IOU)[:MOST]
    return box[best].numpy(), score[best].numpy(), label[best].numpy()


def _check_agreement(ours: Detections, theirs: Found) -> None:
    """Make sure that the same work is timed."""
    if len(ours) != len(theirs[0]) or not np.allclose(ours.scores, theirs[1], atol=1e-4):
        raise AssertionError('the two post-processes disagree: there is nothing to compare')
