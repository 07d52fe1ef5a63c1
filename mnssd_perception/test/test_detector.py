"""Tests of the detector, on an engine that returns what the test decides."""

from dataclasses import replace
import threading

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector, StageTimings
from mnssd_perception.engines import Engine, EngineInfo, EngineOptions, open_engine
from mnssd_perception.errors import EngineError, ImageError, SettingsError
from mnssd_perception.ssd import FeatureMap, ModelSpec, Thresholds
import numpy as np
import pytest

SPEC = ModelSpec((16, 16), ('car', 'van', 'bus'), (FeatureMap((2, 2), (8.0, 8.0), ((8.0, 8.0),)),))


class BrightnessEngine(Engine):
    """Finds a car in every quarter of the input that is red, a van in green, a bus in blue."""

    info = EngineInfo('brightness', '1', 'fp32', 'paper')

    @staticmethod
    def available():
        return None

    def _run(self, image):
        quarters = image.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)).reshape(4, 3) / 255
        logits = np.concatenate((np.zeros((4, 1)), 8 * quarters - 4), axis=1)
        return logits.astype(np.float32), np.zeros((4, 4), np.float32)

    def _close(self):
        pass


@pytest.fixture
def detector():
    """Make a detector."""
    return Detector(BrightnessEngine(SPEC), Thresholds())


def black(height=100, width=200):
    """Make an image of nothing."""
    return np.zeros((height, width, 3), np.uint8)


def scene():
    """Make an image with a red upper left quarter and a blue lower right one."""
    image = black()
    image[:50, :100, 0] = 255
    image[50:, 100:, 2] = 255
    return image


def test_an_empty_image_has_no_detections(detector):
    found = detector.detect(black())
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_detections_are_in_pixels_of_the_image(detector):
    found = detector.detect(scene())
    assert found.labels.tolist() == [0, 2]
    np.testing.assert_allclose(found.boxes, [[0, 0, 100, 50], [100, 50, 200, 100]], atol=1e-3)
    np.testing.assert_allclose(found.scores, 0.98, atol=1e-2)
    assert (found.boxes.dtype, found.labels.dtype) == (np.float32, np.int64)


def test_letterbox():
    spec = replace(SPEC, resize='letterbox')
    image = np.full((50, 200, 3), (0, 255, 0), np.uint8)  # 4 of 16 rows: rows 6 to 10
    found = Detector(BrightnessEngine(spec), Thresholds(0.2)).detect(image)
    assert set(found.labels.tolist()) == {1}
    # Each quarter sees half of the strip.
    np.testing.assert_allclose(sorted(found.boxes.tolist())[0], [0, 0, 100, 25], atol=1e-3)


def test_the_image_is_not_changed(detector):
    image = scene()
    image.flags.writeable = False
    detector.detect(image)
    np.testing.assert_array_equal(image, scene())


def test_timings(detector):
    found, timings = detector.detect_timed(scene())
    assert len(found) == 2
    assert min(timings.resize, timings.infer, timings.postprocess) >= 0
    assert timings.total == timings.resize + timings.infer + timings.postprocess
    assert StageTimings(0.25, 0.5, 1.0).total == 1.75


def test_a_batch_gives_what_single_images_do(detector):
    images = [black(), scene(), np.full((33, 7, 3), (0, 255, 0), np.uint8)]
    assert detector.detect_batch([]) == []
    assert min(vars(detector.detect_batch_timed(images)[1]).values()) > 0
    for several, image in zip(detector.detect_batch(iter(images)), images):
        single, heads = detector.detect_with_heads(image)
        assert len(heads.logits) == 4
        for field in ('boxes', 'scores', 'labels'):
            np.testing.assert_array_equal(getattr(several, field), getattr(single, field))


def test_images_of_changing_sizes(detector):
    for size in [(100, 200), (16, 16), (1, 1), (33, 7), (100, 200)]:
        image = np.zeros((*size, 3), np.uint8)
        assert len(detector.detect(image)) == 0
        image[..., 0] = 255
        found = detector.detect(image)
        assert set(found.labels.tolist()) == {0}
        np.testing.assert_allclose(found.boxes[:, 2:].max(axis=0), size[::-1], rtol=1e-6)


ODD = [
    (1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (3, 32766), (32766, 3), (15, 17), (16, 16),
]  # fmt: skip


@pytest.mark.parametrize('size', ODD, ids=str)
@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
def test_odd_sizes(size, resize):
    spec = replace(SPEC, resize=resize)
    detector = Detector(BrightnessEngine(spec), Thresholds(0.01))
    found = detector.detect(np.full((*size, 3), 255, np.uint8))
    assert len(found) > 0
    assert np.isfinite(found.boxes).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (size[1], size[0]) * 2).all()


@pytest.mark.parametrize(
    'view',
    [
        lambda image: image[::-1],
        lambda image: image[:, ::-1],
        lambda image: image[..., ::-1],
        lambda image: image[::7, ::3],
        lambda image: image[10:90, 20:33],
        lambda image: image.transpose(1, 0, 2),
        np.asfortranarray,
        lambda image: np.broadcast_to(image[:1, :1], (64, 48, 3)),
    ],
    ids=['upside down', 'mirrored', 'bgr', 'every other', 'cut', 'turned', 'fortran', 'one pixel'],
)
def test_views(detector, view):
    image = view(scene()).view()
    image.flags.writeable = False
    found, expected = detector.detect(image), detector.detect(np.ascontiguousarray(image).copy())
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((0, 0, 3), np.uint8), 'sides of 1 to'),
        (np.zeros((0, 10, 3), np.uint8), 'sides of 1 to'),
        (np.zeros((10, 0, 3), np.uint8), 'sides of 1 to'),
        (np.zeros((40000, 1, 3), np.uint8), 'sides of 1 to'),
        (np.zeros((1, 40000, 3), np.uint8), 'sides of 1 to'),
        (np.zeros((10, 10), np.uint8), r'shape \(height, width, 3\), got \(10, 10\)'),
        (np.zeros((10, 10, 1), np.uint8), 'shape'),
        (np.zeros((10, 10, 4), np.uint8), 'shape'),
        (np.zeros((3, 10, 10), np.uint8), 'shape'),
        (np.zeros((1, 10, 10, 3), np.uint8), 'shape'),
        (np.zeros(3, np.uint8), 'shape'),
        (np.uint8(3), 'array of uint8'),
        (np.zeros((), np.uint8), 'shape'),
        (np.zeros((10, 10, 3), np.float32), 'array of uint8, got float32'),
        (np.zeros((10, 10, 3), np.int8), 'got int8'),
        (np.zeros((10, 10, 3), np.uint16), 'got uint16'),
        (np.zeros((10, 10, 3), bool), 'got bool'),
        (np.zeros((10, 10, 3), object), 'got object'),
        (np.zeros((10, 10, 3), '<u2,<u2'), 'array of uint8'),
        ([[[0, 0, 0]]], 'got list'),
        (b'\0' * 300, 'got bytes'),
        (None, 'got NoneType'),
        ('image.jpg', 'got str'),
        (
            np.lib.stride_tricks.as_strided(np.zeros(999, np.uint8), (50, 60, 3), (6, 3, 1)),
            'cannot resize',
        ),
    ],
)
def test_invalid_images_are_refused(detector, image, message):
    with pytest.raises(ImageError, match=message):
        detector.detect(image)
    # And the detector goes on.
    assert len(detector.detect(scene())) == 2


def test_an_engine_that_fails():
    class Broken(BrightnessEngine):
        def _run(self, image):
            raise RuntimeError('out of luck')

    with pytest.raises(EngineError, match='out of luck'):
        Detector(Broken(SPEC)).detect(scene())


def test_a_closed_engine():
    engine = BrightnessEngine(SPEC)
    engine.close()
    with pytest.raises(EngineError, match='is closed'):
        Detector(engine).detect(scene())


def test_class_names(detector):
    assert detector.class_names == ('car', 'van', 'bus')


# Thresholds and class filter.


def test_default_thresholds_where_none_are_given():
    assert Detector(BrightnessEngine(SPEC)).thresholds == Thresholds()


def test_configure_takes_effect_from_the_next_image(detector):
    assert detector.detect(scene()).labels.tolist() == [0, 2]
    detector.configure(Thresholds(), ('bus',))
    assert detector.detect(scene()).labels.tolist() == [2]
    detector.configure(Thresholds(), ['van', 'car'])
    assert detector.detect(scene()).labels.tolist() == [0]
    detector.configure(Thresholds(max_detections=1))
    assert detector.detect(scene()).labels.tolist() == [0]
    detector.configure(Thresholds(score=0.99))
    assert len(detector.detect(scene())) == 0
    assert detector.thresholds == Thresholds(score=0.99)


@pytest.mark.parametrize('name', ['Car', 'truck', '', 'car '])
def test_unknown_classes_are_refused_and_nothing_changes(detector, name):
    detector.configure(Thresholds(0.5), ('van',))
    with pytest.raises(
        SettingsError, match='is not a class of this model; its classes are car, van, bus'
    ):
        detector.configure(Thresholds(0.7), ('car', name))
    assert detector.thresholds == Thresholds(0.5)
    assert len(detector.detect(scene())) == 0  # still vans alone
    with pytest.raises(SettingsError, match='class_filter'):
        Detector(BrightnessEngine(SPEC), class_filter=(name,))


def test_a_string_is_refused_as_class_filter(detector):
    with pytest.raises(SettingsError, match="class_filter: expected a sequence .* got 'car'"):
        detector.configure(Thresholds(), 'car')


def test_thresholds_may_change_while_an_image_is_processed():
    # The engine changes them in the middle of the first image, as a parameter callback may.
    class Swapping(BrightnessEngine):
        def _run(self, image):
            detector.configure(Thresholds(), ('bus',))
            return super()._run(image)

    detector = Detector(Swapping(SPEC), Thresholds(), ('car',))
    assert detector.detect(scene()).labels.tolist() == [0]
    assert detector.detect(scene()).labels.tolist() == [2]


def test_thresholds_and_filter_change_together(detector):
    # Two settings, each of which finds one thing: a mixture would find none or both.
    car, bus = (Thresholds(0.9), ('car',)), (Thresholds(0.5), ('bus',))
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            detector.configure(*car)
            detector.configure(*bus)

    detector.configure(*car)
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            assert detector.detect(scene()).labels.tolist() in ([0], [2])
    finally:
        stop.set()
        thread.join()


# The real one.


def test_shipped_bundle_from_end_to_end():
    pytest.importorskip('onnxruntime')
    bundle = open_bundle(shipped_bundle_path())
    engine = open_engine(bundle, 'auto', EngineOptions(threads=1))
    detector = Detector(engine, bundle.manifest.thresholds)
    for size in [(480, 640), (1, 1), (1, 3000)]:
        found, timings = detector.detect_timed(np.zeros((*size, 3), np.uint8))
        assert found.boxes.shape == (len(found), 4)
        assert timings.infer > 0
    noise = np.random.default_rng(0).integers(0, 256, (512, 640, 3), np.uint8)
    detector.configure(Thresholds(0.01, max_detections=2000))
    found = detector.detect(noise)
    assert len(found) > 0
    assert found.labels.max() < len(bundle.manifest.spec.class_names)
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    engine.close()
