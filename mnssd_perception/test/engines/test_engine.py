"""Tests of what every engine does, on one that computes in NumPy."""

from mnssd_perception.engines import Engine, EngineInfo, EngineOptions
from mnssd_perception.errors import EngineError, ImageError, SettingsError
import numpy as np
import pytest


class PlainEngine(Engine):
    """Returns what it is told to return, and counts."""

    info = EngineInfo('plain', '1', 'fp32', 'paper')

    def __init__(self, spec, answer=None):
        super().__init__(spec)
        self.answer, self.num_runs, self.num_closed = answer, 0, 0

    @staticmethod
    def available():
        return None

    def _run(self, image):
        self.num_runs += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        return image.reshape(24, 4).astype(np.float32), np.zeros((24, 4), np.float32)

    def _close(self):
        self.num_closed += 1


IMAGE = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)


def test_a_batch_is_run_one_image_after_the_other(spec):
    engine = PlainEngine(spec)
    assert engine.infer_batch(np.zeros((0, 4, 8, 3), np.uint8)) == []
    heads = engine.infer_batch(np.stack((IMAGE, IMAGE + 1)))
    assert engine.num_runs == len(heads) == 2
    np.testing.assert_array_equal(heads[1].logits, IMAGE.reshape(24, 4) + 1)
    assert heads[1].offsets.shape == (24, 4)
    with pytest.raises(ImageError, match='network input of shape'):
        engine.infer_batch(np.zeros((2, 8, 4, 3), np.uint8))


def test_runs(spec):
    heads = PlainEngine(spec).infer(IMAGE)
    np.testing.assert_array_equal(heads.logits, IMAGE.reshape(24, 4))
    assert heads.offsets.shape == (24, 4)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((8, 4, 3), np.uint8),
        np.zeros((4, 8), np.uint8),
        np.zeros((4, 8, 4), np.uint8),
        np.zeros((1, 4, 8, 3), np.uint8),
        np.zeros((3, 4, 8), np.uint8),
        np.zeros((4, 8, 3), np.int8),
        np.zeros((4, 8, 3), np.float32),
        np.zeros((4, 8, 3), bool),
        np.zeros((4, 8, 3), object),
        IMAGE.tolist(),
        None,
        b'image',
    ],
    ids=lambda image: f'{getattr(image, "shape", type(image))}{getattr(image, "dtype", "")}',
)
def test_other_shapes_and_types_are_refused(spec, image):
    engine = PlainEngine(spec)
    with pytest.raises(ImageError, match=r'shape \(4, 8, 3\) and type uint8, got'):
        engine.infer(image)
    assert engine.num_runs == 0


def test_foreign_errors_are_wrapped(spec):
    problem = RuntimeError('out of luck')
    with pytest.raises(EngineError, match="engine 'plain' failed: out of luck") as caught:
        PlainEngine(spec, problem).infer(IMAGE)
    assert caught.value.__cause__ is problem


def test_mnssd_errors_are_not_wrapped(spec):
    problem = EngineError('worded already')
    with pytest.raises(EngineError) as caught:
        PlainEngine(spec, problem).infer(IMAGE)
    assert caught.value is problem


@pytest.mark.parametrize('head', ['logits', 'offsets'])
@pytest.mark.parametrize('where', [0, 50, 95])
@pytest.mark.parametrize(
    ('value', 'count'),
    [(np.nan, '1 NaN and 0'), (np.inf, '0 NaN and 1'), (-np.inf, '0 NaN and 1')],
)
def test_a_non_finite_head_is_an_error(spec, head, where, value, count):
    heads = {name: np.ones((24, 4), np.float32) for name in ('logits', 'offsets')}
    heads[head].flat[where] = value
    engine = PlainEngine(spec, tuple(heads.values()))
    with pytest.raises(EngineError, match=f'expected finite {head}, got {count} infinite of 96'):
        engine.infer(IMAGE)


def test_the_largest_finite_values_are_accepted(spec):
    largest = np.full((24, 4), np.finfo(np.float32).max)
    heads = PlainEngine(spec, (largest, -largest)).infer(IMAGE)
    assert heads.logits is largest


def test_closed(spec):
    engine = PlainEngine(spec)
    engine.close()
    engine.close()
    assert engine.num_closed == 1
    with pytest.raises(EngineError, match="engine 'plain' is closed"):
        engine.infer(IMAGE)
    assert engine.num_runs == 0


@pytest.mark.parametrize('threads', [-1, 257, float('nan')])
def test_threads_out_of_range_are_refused(threads):
    with pytest.raises(SettingsError, match='threads: expected 0 to 256'):
        EngineOptions(threads=threads)
