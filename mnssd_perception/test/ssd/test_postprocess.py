"""Tests of the post-process: hand-made heads, and a brute-force reference on random ones."""

import warnings

from mnssd_perception.ssd import (
    decode_boxes,
    FeatureMap,
    generate_priors,
    ModelSpec,
    postprocess,
    RawHeads,
    resize_transform,
    Thresholds,
)
import numpy as np
import pytest

# Four priors of 8x8 pixels, side by side without overlap, in a network input of 16x16.
FOUR = ModelSpec((16, 16), ('car', 'van'), (FeatureMap((2, 2), (8.0, 8.0), ((8.0, 8.0),)),))
STRETCH = resize_transform((32, 64), (16, 16), 'stretch')  # the frame is 64 wide and 32 high


def heads_of(spec, probabilities, offsets=None):
    """Make raw heads that give these probabilities; priors not named are background."""
    shape = (spec.num_priors, spec.num_classes + 1)
    chances = np.zeros(shape)
    chances[:, 0] = 1
    for prior, chance in probabilities.items():
        chances[prior] = chance
    with np.errstate(divide='ignore'):
        logits = np.log(chances)
    logits = np.maximum(logits, -50).astype(np.float32)
    moved = np.zeros((spec.num_priors, 4), np.float32)
    for prior, offset in (offsets or {}).items():
        moved[prior] = offset
    return RawHeads(logits, moved)


def found_in(heads, transform=STRETCH, spec=FOUR, labels=None, max_candidates=2000, **thresholds):
    """Run the function under test, in which not even a warning is welcome."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return postprocess(
            heads, spec, transform, Thresholds(**thresholds), labels, max_candidates=max_candidates
        )


def test_empty():
    found = found_in(heads_of(FOUR, {}))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def test_golden_head():
    heads = heads_of(
        FOUR,
        {0: (0.25, 0.15, 0.6), 1: (0.1, 0.8, 0.1), 3: (0.7, 0.2, 0.1)},
        {1: (0, 2.5, 0, -3.4657359)},  # lower by a quarter of 8, and half as high
    )
    found = found_in(heads, score=0.3)
    np.testing.assert_allclose(found.boxes, [[32, 8, 64, 16], [0, 0, 32, 16]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.8, 0.6], atol=1e-6)
    assert found.labels.tolist() == [0, 1]


def test_a_prior_may_answer_for_two_classes():
    found = found_in(heads_of(FOUR, {2: (0.2, 0.35, 0.45)}), score=0.3)
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(found.boxes[0], found.boxes[1])


def test_letterbox_takes_the_padding_away():
    transform = resize_transform((32, 64), (16, 16), 'letterbox')  # 8 of 16 rows are content
    heads = heads_of(FOUR, {0: (0.1, 0.9, 0), 3: (0.2, 0.8, 0)})
    found = found_in(heads, transform)
    np.testing.assert_allclose(found.boxes, [[0, 0, 32, 16], [32, 16, 64, 32]], atol=1e-4)


def test_boxes_in_the_padding_are_dropped():
    transform = resize_transform((16, 64), (16, 16), 'letterbox')  # rows 6 to 10 are content
    heads = heads_of(FOUR, {0: (0.1, 0.9, 0)}, {0: (0, -5, 0, -3.4657359)})
    assert len(found_in(heads, transform)) == 0


def test_detections_are_clipped_to_the_image():
    found = found_in(heads_of(FOUR, {0: (0.1, 0.9, 0)}, {0: (-2.5, -2.5, 20, 20)}))
    np.testing.assert_array_equal(found.boxes, [[0, 0, 64, 32]])


def test_nms_is_per_class():
    offset = {1: (-10, 0, 0, 0)}  # onto prior 0
    same = heads_of(FOUR, {0: (0.1, 0.9, 0), 1: (0.2, 0.8, 0)}, offset)
    other = heads_of(FOUR, {0: (0.1, 0.9, 0), 1: (0.2, 0, 0.8)}, offset)
    assert len(found_in(same)) == 1
    assert len(found_in(other)) == 2
    assert len(found_in(same, iou=1.0)) == 2


def test_max_detections_keeps_the_best():
    heads = heads_of(
        FOUR, {0: (0.4, 0.6, 0), 1: (0.1, 0.9, 0), 2: (0.3, 0.7, 0), 3: (0.2, 0.8, 0)}
    )
    np.testing.assert_allclose(found_in(heads).scores, [0.9, 0.8, 0.7, 0.6], atol=1e-6)
    np.testing.assert_allclose(found_in(heads, max_detections=2).scores, [0.9, 0.8], atol=1e-6)


def test_max_candidates_keeps_the_best():
    heads = heads_of(FOUR, {0: (0.4, 0.6, 0), 1: (0.1, 0.9, 0), 2: (0.3, 0.7, 0)})
    found = found_in(heads, max_candidates=2, max_detections=2)
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)


@pytest.mark.parametrize(
    ('labels', 'expected'), [((), []), ((0,), [0]), ((1,), [1]), ((1, 0), [1, 0]), (None, [1, 0])]
)
def test_labels(labels, expected):
    heads = heads_of(FOUR, {0: (0.2, 0, 0.8), 1: (0.3, 0.7, 0)})
    assert found_in(heads, labels=labels).labels.tolist() == expected


def test_equal_scores_keep_the_order_of_the_priors():
    heads = heads_of(FOUR, dict.fromkeys(range(4), (0.2, 0.8, 0)))
    lefts = found_in(heads).boxes[:, :2].tolist()
    assert lefts == [[0, 0], [32, 0], [0, 16], [32, 16]]


@pytest.mark.parametrize('threshold', [0.01, 0.1, 0.35, 0.5, 0.75, 0.9, 0.99])
def test_a_score_at_the_threshold_is_found(threshold):
    # Two classes share the rest with the background in every way: the gate must not be in between.
    for share in (0.0, 0.3, 0.9999):
        rest = 1 - threshold
        above, below = threshold * 1.00001, threshold * 0.9999
        heads = heads_of(
            FOUR,
            {
                0: (rest * (1 - share), above, rest * share),
                3: (rest * (1 - share) + threshold - below, below, rest * share),
            },
        )
        found = found_in(heads, score=threshold, labels=(0,))
        np.testing.assert_allclose(found.scores, [above], rtol=1e-4)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_non_finite_heads_are_no_detections(value):
    fine = heads_of(FOUR, {0: (0.1, 0.9, 0), 1: (0.1, 0.9, 0)})
    logits, offsets = fine.logits.copy(), fine.offsets.copy()
    logits[1:] = value
    found = found_in(RawHeads(logits, offsets))
    np.testing.assert_allclose(found.boxes, [[0, 0, 32, 16]], atol=1e-4)
    offsets[1:] = value
    for box in found_in(RawHeads(fine.logits, offsets)).boxes:
        assert np.isfinite(box).all()


# The reference: everything the dear way, and in plain loops.


def reference(heads, spec, transform, thresholds, labels, max_candidates):
    """Find (box, score, label), best first, without any short cut."""
    with np.errstate(all='ignore'):
        weights = np.exp(heads.logits - heads.logits.max(axis=1, keepdims=True))
        scores = weights / weights.sum(axis=1, keepdims=True)
        boxes = transform.to_source(
            decode_boxes(heads.offsets, generate_priors(spec), spec.variances)
        )
    threshold = np.float32(thresholds.score)
    rows = []
    for prior in range(spec.num_priors):
        for label in range(spec.num_classes):
            score = scores[prior, label + 1]
            wanted = labels is None or label in labels
            if wanted and score >= threshold:
                rows.append((-score, prior, label))
    kept = []
    for negative, prior, label in sorted(rows)[:max_candidates]:
        box = boxes[prior]
        if not (box[2] > box[0] and box[3] > box[1]):
            continue
        if all(
            label != other or not beats(rival, box, thresholds.iou) for rival, _, other in kept
        ):
            kept.append((box, -negative, label))
    return kept[: thresholds.max_detections]


def beats(box, other, threshold):
    """Tell whether two boxes overlap too much."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    if wide <= 0 or high <= 0:
        return False
    shared = wide * high
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return bool(shared > np.float32(threshold) * (areas[0] + areas[1] - shared))


DENSE = ModelSpec(
    (32, 40),
    ('a', 'b', 'c'),
    (
        FeatureMap((4, 5), (8.0, 8.0), ((8.0, 8.0), (14.0, 9.0))),
        FeatureMap((2, 2), (16.0, 20.0), ((24.0, 20.0),)),
    ),
)


def random_heads(generator, kind):
    """Make heads of a kind: ordinary, with many ties, wild, or broken."""
    num, columns = DENSE.num_priors, DENSE.num_classes + 1
    logits = generator.normal(0, 2, (num, columns))
    offsets = generator.normal(0, 2, (num, 4))
    if kind == 'ties':
        logits, offsets = np.round(logits), np.round(offsets)
    if kind == 'wild':
        logits *= 10 ** generator.uniform(0, 30)
        offsets *= 10 ** generator.uniform(0, 30)
    if kind == 'broken':
        values = (np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0)
        for array in (logits, offsets):
            where = generator.random(array.shape) < 0.1
            array[where] = generator.choice(values, where.sum())
    return RawHeads(logits.astype(np.float32), offsets.astype(np.float32))


@pytest.mark.parametrize('kind', ['ordinary', 'ties', 'wild', 'broken'])
@pytest.mark.parametrize('seed', range(3))
def test_equals_the_reference(kind, seed):
    generator = np.random.default_rng(seed)
    for _ in range(150):
        heads = random_heads(generator, kind)
        mode = 'stretch' if generator.random() < 0.5 else 'letterbox'
        frame = (int(generator.integers(1, 900)), int(generator.integers(1, 900)))
        transform = resize_transform(frame, DENSE.input_size, mode)
        some = tuple(label for label in range(3) if generator.random() < 0.6)
        thresholds = Thresholds(
            score=float(generator.choice([0.01, 0.05, 0.2, 0.5, 0.9])),
            iou=float(generator.choice([0.0, 0.3, 0.45, 0.7, 1.0])),
            max_detections=int(generator.choice([1, 5, 100])),
        )
        most = int(generator.choice([100, 2000]))
        labels = some if generator.random() < 0.3 else None
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            found = postprocess(heads, DENSE, transform, thresholds, labels, max_candidates=most)
        expected = reference(heads, DENSE, transform, thresholds, labels, most)
        assert found.labels.tolist() == [label for _, _, label in expected]
        np.testing.assert_allclose(
            found.boxes, np.array([box for box, _, _ in expected]).reshape(-1, 4), atol=1e-3
        )
        np.testing.assert_allclose(found.scores, [score for _, score, _ in expected], rtol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
        assert np.isfinite(found.boxes).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (found.boxes <= (*frame[::-1], *frame[::-1])).all()


def test_only_what_may_pass_the_threshold_reaches_the_softmax(monkeypatch):
    # At a threshold of 0.5 a class must have at least the logit of the background.
    heads = RawHeads(
        np.array([[0, 0.1, -9], [0, -0.5, -0.5], [0, -9, 2], [0, -3, -3]], np.float32),
        np.zeros((4, 4), np.float32),
    )
    num_rows = []

    def exp(values, *args, real=np.exp, **kwargs):
        num_rows.append(len(values))
        return real(values, *args, **kwargs)

    monkeypatch.setattr(np, 'exp', exp)
    assert len(found_in(heads, score=0.5)) == 2
    assert num_rows[0] == 2  # then come the boxes
