"""Tests of resizing and of bringing boxes back to the frame."""

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.errors import ImageError
from mnssd_perception.ssd import resize_frame, resize_image, resize_transform
import numpy as np
import pytest

PADDING = 114


@pytest.mark.parametrize(
    ('source', 'target', 'mode', 'content', 'origin'),
    [
        ((480, 640), (320, 400), 'stretch', (320, 400), (0, 0)),
        ((480, 640), (300, 300), 'letterbox', (225, 300), (37, 0)),
        ((640, 480), (300, 300), 'letterbox', (300, 225), (0, 37)),
        ((300, 300), (300, 300), 'letterbox', (300, 300), (0, 0)),
        ((100, 100), (300, 300), 'letterbox', (300, 300), (0, 0)),
        ((1, 5000), (300, 300), 'letterbox', (1, 300), (149, 0)),
        ((5000, 1), (300, 300), 'letterbox', (300, 1), (0, 149)),
        ((720, 1280), (320, 400), 'letterbox', (225, 400), (47, 0)),
    ],
)
def test_resize_transforms(source, target, mode, content, origin):
    transform = resize_transform(source, target, mode)
    assert (transform.content_size, transform.origin) == (content, origin)
    assert (transform.source_size, transform.input_size) == (source, target)


GOLDEN = [
    # A 640x480 frame stretched to 400x320 and back.
    ('stretch', (480, 640), (320, 400), [64, 48, 320, 240], [0.1, 0.1, 0.5, 0.5]),
    # The same letterboxed to 300x300: 225 rows of content from row 37 on.
    ('letterbox', (480, 640), (300, 300), [0, 0, 640, 480], [0, 37 / 300, 1, 262 / 300]),
    ('letterbox', (480, 640), (300, 300), [320, 240, 640, 480], [0.5, 149.5 / 300, 1, 262 / 300]),
]


@pytest.mark.parametrize(('mode', 'source', 'target', 'frame', 'network'), GOLDEN)
def test_golden_boxes(mode, source, target, frame, network):
    transform = resize_transform(source, target, mode)
    frame, network = np.array([frame], np.float32), np.array([network], np.float32)
    np.testing.assert_allclose(transform.to_input(frame), network, atol=1e-6)
    np.testing.assert_allclose(transform.to_source(network), frame, atol=1e-3)


def test_no_boxes():
    transform = resize_transform((480, 640), (300, 300), 'letterbox')
    for found in (
        transform.to_input(np.zeros((0, 4), np.float32)),
        transform.to_source(np.zeros((0, 4), np.float32)),
    ):
        assert found.shape == (0, 4)
        assert found.dtype == np.float32


def test_boxes_are_clipped_to_the_image():
    transform = resize_transform((480, 640), (300, 300), 'letterbox')
    boxes = np.array([[-1, -1, 2, 2], [0.5, 0, 0.6, 0.05]], np.float32)
    np.testing.assert_array_equal(transform.to_source(boxes)[0], [0, 0, 640, 480])
    # In the padding above the frame: nothing is left of it.
    np.testing.assert_array_equal(transform.to_source(boxes)[1, [1, 3]], [0, 0])


sides = st.integers(1, 4000)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(sides, sides),
    st.tuples(st.integers(8, 700), st.integers(8, 700)),
    st.sampled_from(['stretch', 'letterbox']),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_to_source_undoes_to_input(source, target, mode, fractions):
    transform = resize_transform(source, target, mode)
    size = np.array(source[::-1] * 2, np.float64)
    frame = (np.array(fractions).reshape(-1, 4) * size).astype(np.float32)
    inside = transform.to_input(frame)
    assert (inside >= -1e-6).all()
    assert (inside <= 1 + 1e-6).all()
    np.testing.assert_allclose(transform.to_source(inside) / size, frame / size, atol=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.tuples(sides, sides), st.tuples(st.integers(8, 700), st.integers(8, 700)))
def test_letterbox_keeps_the_aspect_and_touches_two_edges(source, target):
    transform = resize_transform(source, target, 'letterbox')
    height, width = transform.content_size
    assert height == target[0] or width == target[1]
    assert 1 <= height <= target[0]
    assert 1 <= width <= target[1]
    # Right to half a pixel, but for a side that would be less than one pixel.
    scale = min(target[0] / source[0], target[1] / source[1])
    assert abs(height - max(1, source[0] * scale)) <= 0.5 + 1e-9
    assert abs(width - max(1, source[1] * scale)) <= 0.5 + 1e-9
    # Centred.
    assert 0 <= target[0] - height - 2 * transform.origin[0] <= 1
    assert 0 <= target[1] - width - 2 * transform.origin[1] <= 1


def picture(height, width, seed=0):
    """Make noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_frame_of_the_right_size_is_copied():
    image = picture(30, 40)
    found = resize_frame(image, resize_transform((30, 40), (30, 40), 'stretch'))
    np.testing.assert_array_equal(found, image)
    assert not np.shares_memory(found, image)


@pytest.mark.parametrize('mode', ['stretch', 'letterbox'])
@pytest.mark.parametrize('source', [(60, 80), (10, 300), (300, 10), (1, 1), (7, 1), (1, 7)])
def test_one_colour_stays_one_colour(mode, source):
    image = np.full((*source, 3), (10, 200, 77), np.uint8)
    transform = resize_transform(source, (40, 50), mode)
    found = resize_frame(image, transform)
    (top, left), (height, width) = transform.origin, transform.content_size
    content = np.zeros((40, 50), bool)
    content[top : top + height, left : left + width] = True
    assert (found[content] == (10, 200, 77)).all()
    assert (found[~content] == PADDING).all()


@pytest.mark.parametrize('mode', ['stretch', 'letterbox'])
def test_a_reused_buffer_is_overwritten_completely(mode):
    buffer = np.full((40, 50, 3), 255, np.uint8)
    for seed, source in enumerate([(10, 300), (300, 10), (60, 80), (40, 50), (10, 300)]):
        image = picture(*source, seed)
        transform = resize_transform(source, (40, 50), mode)
        found = resize_frame(image, transform, buffer)
        assert found is buffer
        np.testing.assert_array_equal(found, resize_frame(image, transform))


@pytest.mark.parametrize('mode', ['stretch', 'letterbox'])
@pytest.mark.parametrize(
    'view',
    [
        lambda image: image[::-1],
        lambda image: image[:, ::-1],
        lambda image: image[..., ::-1],
        lambda image: image[::3, ::2],
        lambda image: image[5:40, 3:33],
        lambda image: image.transpose(1, 0, 2),
        np.asfortranarray,
        lambda image: np.broadcast_to(image[:1, :1], (30, 20, 3)),
        lambda image: np.broadcast_to(image[..., :1], image.shape),
    ],
    ids=[
        'upside down', 'mirrored', 'bgr', 'every other', 'cut', 'turned', 'fortran', 'one pixel',
        'grey',
    ],
)  # fmt: skip
def test_views_and_read_only_frames(mode, view):
    frame = view(picture(60, 80)).view()
    frame.flags.writeable = False
    transform = resize_transform(frame.shape[:2], (40, 50), mode)
    expected = resize_frame(np.ascontiguousarray(frame).copy(), transform)
    np.testing.assert_array_equal(resize_frame(frame, transform), expected)


def test_rows_that_overlap_in_memory_are_refused():
    frame = np.lib.stride_tricks.as_strided(picture(60, 80), (50, 60, 3), (6, 3, 1))
    with pytest.raises(ImageError, match='cannot resize'):
        resize_frame(frame, resize_transform((50, 60), (40, 50), 'stretch'))


@pytest.mark.parametrize('source', [(80, 100), (90, 110), (160, 200), (320, 410), (96, 1600)])
def test_shrinking_averages_what_is_too_fine_to_show(source):
    # Interpolating between two of four pixels would make large patterns of a checkerboard.
    rows, columns = np.indices(source)
    for pattern in (rows + columns, rows, columns):
        image = np.repeat((pattern % 2 * 200).astype(np.uint8)[..., None], 3, axis=2)
        found = resize_frame(image, resize_transform(source, (40, 50), 'stretch'))
        assert np.abs(found.astype(int) - 100).max() <= 2


@pytest.mark.parametrize('source', [(79, 101), (81, 103), (323, 401), (161, 1999)])
def test_shrinking_averages_noise_of_any_size(source):
    noise = np.random.default_rng(0).integers(0, 2, source, np.uint8) * 200
    image = np.repeat(noise[..., None], 3, axis=2)
    found = resize_image(image, (source[0] // 4, source[1] // 4))
    assert found.std() < image.std() / 2
    assert abs(found.mean() - image.mean()) < 4


@pytest.mark.parametrize('size', [(1, 1), (3, 1), (1, 3), (40, 50)])
@pytest.mark.parametrize('source', [(1, 1), (2, 1), (1, 7), (30, 40)])
def test_images_of_one_pixel(source, size):
    image = np.full((*source, 3), (10, 200, 77), np.uint8)
    for found in (
        resize_image(image, size),
        resize_image(image, size, np.zeros((*size, 3), 'u1')),
    ):
        assert found.shape == (*size, 3)
        assert (found == (10, 200, 77)).all()


@settings(deadline=None)
@given(st.tuples(sides, sides), st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_resizing_does_not_shift_an_edge(source, size):
    """The place of an edge is not moved by rounding the sizes between."""
    image = np.zeros((source[0] % 200 + 8, source[1] % 200 + 8, 3), np.uint8)
    height, width = image.shape[:2]
    image[:, width // 2 :] = 255
    found = resize_image(image, size)
    white = found[..., 0].astype(float).sum(axis=1) / 255 * width / size[1]
    assert np.abs(white - (width - width // 2)).max() <= max(1.0, width / size[1]) / 2 + 0.5


@pytest.mark.parametrize(('source', 'shape'), [((20, 51), (41, 51)), ((51, 20), (51, 41))])
def test_padding_of_an_odd_number_of_pixels(source, shape):
    transform = resize_transform(source, shape, 'letterbox')
    resized = resize_frame(
        np.zeros((*source, 3), np.uint8), transform, np.full((*shape, 3), 7, np.uint8)
    )
    assert np.unique(resized).tolist() == [0, PADDING]
    assert (resized == PADDING).sum() == 3 * 21 * 51


def test_halving_an_odd_side_counts_every_pixel():
    image = picture(9, 13)
    expected = cv2.resize(image, (6, 4), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize_image(image, (4, 6)), expected)


@pytest.mark.parametrize('size', [(40, 50), (59, 38)])
def test_up_to_half_the_size_is_interpolated_in_one_step(size):
    image = picture(60, 75)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_image(image, size), expected)


@pytest.mark.parametrize('source', [(1, 1), (1, 2), (2, 1), (3, 5)])
@pytest.mark.parametrize('size', [(1, 1), (1, 2), (2, 1), (4, 3)])
def test_opencv_gets_no_image_of_a_single_pixel(monkeypatch, source, size):
    """Its version 4.5 misreads one."""

    def resize(image, size_wh, *args, real=cv2.resize, **kwargs):
        assert image.shape[:2] != (1, 1)
        assert size_wh != (1, 1)
        return real(image, size_wh, *args, **kwargs)

    monkeypatch.setattr(cv2, 'resize', resize)
    image = picture(*source)
    resized = resize_image(image, size)
    assert resized.shape == (*size, 3)
    if size == (1, 1):
        np.testing.assert_allclose(resized[0, 0], image.mean(axis=(0, 1)), atol=2)
