"""The contract against torchvision, on the settings that both can express."""

from mnssd_perception.ssd import (
    boxes as geometry,
)
from mnssd_perception.ssd import (
    decode_boxes,
    encode_boxes,
    finetune_feature_maps,
    generate_priors,
    ModelSpec,
    nms,
    postprocess,
    RawHeads,
    resize_transform,
    ssdlite_feature_maps,
    Thresholds,
)
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('torchvision')

from torchvision.models.detection._utils import BoxCoder  # noqa: E402
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image  # noqa: E402

RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
SCALES = [0.10, 0.20, 0.35, 0.50, 0.65, 0.80, 0.95]
CODER = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
VARIANCES = (0.1, 0.2)


def spec(height=320, width=320):
    """Specify the model of the finetune document."""
    size = (height, width)
    return ModelSpec(size, ('a', 'b', 'c', 'd'), finetune_feature_maps(size))


def numpy_priors(made):
    """Compute the priors as edges in pixels."""
    height, width = made.input_size
    return geometry.cxcywh_to_xyxy(generate_priors(made)) * np.float32(
        (width, height, width, height)
    )


def random_boxes(generator, num, side=320.0):
    """Make boxes of ordinary sizes."""
    corner = generator.uniform(0, 0.8 * side, (num, 2))
    size = generator.uniform(0.02 * side, 0.5 * side, (num, 2))
    return np.concatenate((corner, corner + size), axis=1).astype(np.float32)


@pytest.mark.parametrize(('size', 'num'), [((320, 320), 9602), ((256, 384), None)])
def test_priors(size, num):
    made = spec(*size)
    grids = [torch.zeros(1, 1, *level.shape) for level in made.feature_maps]
    images = ImageList(torch.zeros(1, 3, *size), [size])
    (expected,) = DefaultBoxGenerator(RATIOS, scales=SCALES)(images, grids)
    found = numpy_priors(made)
    assert found.shape == tuple(expected.shape)
    assert num is None or len(found) == num
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(('size', 'num'), [((320, 320), 3234), ((200, 328), None)])
def test_priors_of_ssdlite(size, num):
    made = ModelSpec(size, ('a',), ssdlite_feature_maps(size))
    grids = [torch.zeros(1, 1, *level.shape) for level in made.feature_maps]
    images = ImageList(torch.zeros(1, 3, *size), [size])
    generator = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    (expected,) = generator(images, grids)
    assert [grid.shape[2] for grid in grids] == [20, 10, 5, 3, 2, 1] or num is None
    assert made.num_priors == len(expected) == (num or len(expected))
    np.testing.assert_allclose(numpy_priors(made), expected.numpy(), atol=1e-3)


def test_no_boxes():
    empty = torch.zeros(0, 4)
    assert encode_boxes(empty.numpy(), empty.numpy(), VARIANCES).shape == (0, 4)
    assert CODER.encode_single(empty, empty).shape == (0, 4)


def test_encode_and_decode():
    generator = np.random.default_rng(0)
    edges = numpy_priors(spec())[generator.choice(9602, 500)]
    priors = geometry.xyxy_to_cxcywh(edges)
    boxes = random_boxes(generator, 500)
    offsets = encode_boxes(boxes, priors, VARIANCES)
    expected = CODER.encode_single(torch.tensor(boxes), torch.tensor(edges))
    np.testing.assert_allclose(offsets, expected.numpy(), atol=2e-4)
    # Offsets up to the limit of torchvision's coder, which is below that of mnssd.
    offsets = generator.uniform(-15, 15, (500, 4)).astype(np.float32)
    expected = CODER.decode_single(torch.tensor(offsets), torch.tensor(edges))
    np.testing.assert_allclose(
        decode_boxes(offsets, priors, VARIANCES), expected, rtol=1e-4, atol=1e-2
    )


def test_iou():
    generator = np.random.default_rng(1)
    boxes, others = random_boxes(generator, 60), random_boxes(generator, 40)
    expected = box_iou(torch.tensor(boxes), torch.tensor(others))
    np.testing.assert_allclose(geometry.box_iou(boxes, others), expected, atol=1e-6)


@pytest.mark.parametrize('threshold', [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize('seed', range(5))
def test_nms_on_a_grid(seed, threshold):
    # Whole edges, so that torchvision's offsets between classes round nothing away.
    generator = np.random.default_rng(seed)
    for num in (0, 1, 10, 100, 400):
        corner = generator.integers(0, 50, (num, 2))
        boxes = np.concatenate((corner, corner + generator.integers(1, 20, (num, 2))), axis=1)
        boxes, labels = boxes.astype(np.float32), generator.integers(0, 4, num)
        scores = np.linspace(1, 0.1, num, dtype=np.float32)
        kept = batched_nms(
            torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), threshold
        )
        found = np.flatnonzero(nms(boxes, labels, threshold))
        np.testing.assert_array_equal(found, np.sort(kept.numpy()))


@pytest.mark.parametrize('threshold', [0.05, 0.35])
@pytest.mark.parametrize('seed', range(3))
def test_whole_post_process(seed, threshold):
    generator = np.random.default_rng(seed)
    made = spec()
    logits = generator.normal(0, 1.2, (9602, 5)).astype(np.float32)
    logits[:, 0] += 6  # mostly background
    offsets = generator.normal(0, 1, (9602, 4)).astype(np.float32)
    plan = resize_transform((480, 640), made.input_size, 'stretch')
    thresholds = Thresholds(threshold, 0.5, 200)
    found = postprocess(RawHeads(logits, offsets), made, plan, thresholds)

    scores = torch.tensor(logits).softmax(1)[:, 1:]
    prior, label = torch.nonzero(scores >= threshold, as_tuple=True)
    edges = torch.tensor(numpy_priors(made))[prior]
    boxes = CODER.decode_single(torch.tensor(offsets)[prior], edges)
    boxes = clip_boxes_to_image(boxes, made.input_size) * torch.tensor([2.0, 1.5, 2.0, 1.5])
    score = scores[prior, label]
    kept = batched_nms(boxes, score, label, 0.5)[:200]
    assert len(found) == len(kept) > 5
    np.testing.assert_array_equal(found.labels, label[kept])
    np.testing.assert_allclose(found.scores, score[kept], atol=1e-6)
    np.testing.assert_allclose(found.boxes, boxes[kept], atol=1e-2)
