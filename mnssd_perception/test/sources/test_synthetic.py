"""Tests of the synthetic camera."""

from itertools import islice

from mnssd_perception.errors import SourceError
from mnssd_perception.sources.synthetic import SyntheticOptions, SyntheticSource
import numpy as np
import pytest


def frames(num, **options):
    return list(islice(SyntheticSource(SyntheticOptions(**options)), num))


def test_image_without_objects_is_noise():
    (frame,) = frames(1, objects=0)
    assert frame.image.shape == (512, 640, 3)
    assert len(frame.ground_truth) == 0
    assert frame.image.max() < 80


def test_objects_fill_their_boxes_and_stay_inside():
    for frame in frames(40, width=320, height=200, objects=8):
        boxes = frame.ground_truth.boxes
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= (320, 200)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        for left, top, right, bottom in boxes.astype(int).tolist():
            bright = frame.image[top:bottom, left:right].max(axis=2) >= 140
            assert bright.any(axis=1).all()
            assert bright.any(axis=0).all()
        outside = np.ones(frame.image.shape[:2], bool)
        for left, top, right, bottom in boxes.astype(int).tolist():
            outside[top:bottom, left:right] = False
        assert frame.image[outside].max() < 80


def test_same_seed_gives_the_same_frames():
    first, again, other = (frames(3, seed=seed)[-1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()


def test_objects_move():
    first, *_, last = frames(10)
    assert (first.ground_truth.boxes != last.ground_truth.boxes).any()
    np.testing.assert_array_equal(first.ground_truth.labels, [0, 1, 0, 1, 0, 1])


def test_source_ends_after_the_requested_frames():
    source = SyntheticSource(SyntheticOptions(frames=4))
    assert source.rate == 30.0
    assert len(list(source)) == 4


@pytest.mark.parametrize('text', ['', ',', ',,'])
def test_empty_text_gives_the_defaults(text):
    assert SyntheticOptions.parse(text) == SyntheticOptions()


def test_options_are_parsed():
    parsed = SyntheticOptions.parse('width=1280, height = 720,frames=3,objects=0,seed=9')
    assert parsed == SyntheticOptions(1280, 720, 3, 0, 9)


@pytest.mark.parametrize(
    'text',
    [
        'colour=red', 'width', 'width=', 'width=-1', 'width=1.5', 'width=ten', 'width=²',
        'width=15', 'height=8193', 'objects=1001', 'seed=' + '9' * 5000, 'seed=2147483648',
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_invalid_options_are_refused(text):
    with pytest.raises(SourceError):
        SyntheticOptions.parse(text)
