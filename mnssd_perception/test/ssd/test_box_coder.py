"""Tests of the box coding."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import decode_boxes, encode_boxes
import numpy as np
import pytest

VARIANCES = (0.1, 0.2)
EMPTY = np.zeros((0, 4), np.float32)
PRIOR = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)

# Worked out by hand from equation 2 of the paper.
GOLDEN = [
    ([0.4, 0.3, 0.6, 0.7], [0, 0, 0, 0]),
    ([0.42, 0.34, 0.62, 0.74], [1, 1, 0, 0]),
    ([0.3, 0.1, 0.7, 0.9], [0, 0, 3.4657359, 3.4657359]),
    ([0.45, 0.45, 0.55, 0.65], [0, 1.25, -3.4657359, -3.4657359]),
    ([0.48, 0.22, 0.68, 0.62], [4, -2, 0, 0]),
]


def test_empty():
    assert encode_boxes(EMPTY, EMPTY, VARIANCES).shape == (0, 4)
    assert decode_boxes(EMPTY, EMPTY, VARIANCES).shape == (0, 4)


@pytest.mark.parametrize(('box', 'offsets'), GOLDEN)
def test_golden(box, offsets):
    box, offsets = np.array([box], np.float32), np.array([offsets], np.float32)
    np.testing.assert_allclose(encode_boxes(box, PRIOR, VARIANCES), offsets, atol=2e-6)
    np.testing.assert_allclose(decode_boxes(offsets, PRIOR, VARIANCES), box, atol=2e-7)


def test_variances_divide():
    box = np.array([[0.44, 0.38, 0.64, 0.78]], np.float32)
    np.testing.assert_allclose(encode_boxes(box, PRIOR, (0.1, 0.2)), [[2, 2, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(encode_boxes(box, PRIOR, (0.2, 0.2)), [[1, 1, 0, 0]], atol=1e-5)


@pytest.mark.parametrize('kind', [np.float32, np.float64])
def test_types(kind):
    box = np.array([[0.1, 0.1, 0.3, 0.4]], kind)
    assert encode_boxes(box, PRIOR, VARIANCES).dtype == np.float32
    assert decode_boxes(EMPTY, EMPTY, VARIANCES).dtype == np.float32


sides = st.floats(0.004, 1.0)
places = st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5), sides, sides)
pairs = st.lists(st.tuples(places, places), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(pairs, st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_decode_undoes_encode(pairs, centre, size):
    priors = np.array([prior for prior, _ in pairs], np.float32)
    place = np.array([place for _, place in pairs], np.float32)
    boxes = np.concatenate(
        (place[:, :2] - place[:, 2:] / 2, place[:, :2] + place[:, 2:] / 2), axis=1
    )
    back = decode_boxes(encode_boxes(boxes, priors, (centre, size)), priors, (centre, size))
    np.testing.assert_allclose(back, boxes, atol=2e-5)


def test_decoding_a_diverged_network_does_not_overflow():
    offsets = np.array([[0, 0, 1e30, np.inf], [0, 0, -1e30, -np.inf]], np.float32)
    with np.errstate(over='raise'):
        boxes = decode_boxes(offsets, np.repeat(PRIOR, 2, axis=0), VARIANCES)
    np.testing.assert_allclose(boxes[0], [-99.5, -199.5, 100.5, 200.5], rtol=1e-5)
    np.testing.assert_allclose(boxes[1], [0.5, 0.5, 0.5, 0.5])


def test_inputs_stay_as_they_were():
    offsets, priors = np.ones((1, 4), np.float32), PRIOR.copy()
    offsets.setflags(write=False)
    priors.setflags(write=False)
    decode_boxes(offsets, priors, VARIANCES)
    encode_boxes(decode_boxes(offsets, priors, VARIANCES), priors, VARIANCES)
