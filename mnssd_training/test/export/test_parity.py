"""What raw heads that differ from those of PyTorch are measured to differ by."""

from collections.abc import Callable

from mnssd_perception.engines import Engine, open_onnx
from mnssd_perception.engines.engine import Heads
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ExportError
from mnssd_training.export import load_calibration_images
from mnssd_training.export.parity import compare_heads, HeadDifferences
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
from numpy.typing import NDArray
import pytest


class Disturbed(Engine):
    """An engine whose heads are a little wrong."""

    def __init__(self, engine: Engine, change: Callable[[Heads], Heads]) -> None:
        super().__init__(engine.spec)
        self._engine, self._change, self.info = engine, change, engine.info

    @staticmethod
    def available() -> None:
        pass

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        heads = self._engine.infer(image)
        return self._change((heads.logits.copy(), heads.offsets.copy()))

    def _close(self) -> None:
        self._engine.close()


@pytest.fixture
def engine(model: MobileNetSsd, exported: bytes) -> Engine:
    return open_onnx(model.spec, exported)


def test_no_image_is_an_error(model: MobileNetSsd, engine: Engine) -> None:
    with pytest.raises(ExportError, match='at least one image'):
        compare_heads(TorchEngine(model), engine, [])


def test_the_engine_agrees_with_pytorch_on_real_images(
    model: MobileNetSsd, engine: Engine, train_samples: list[Sample], val_samples: list[Sample]
) -> None:
    images = load_calibration_images(train_samples + val_samples, model.spec)
    differences = compare_heads(TorchEngine(model), engine, images)
    assert differences.num_images == 8
    assert differences.logits < 1e-3
    assert differences.offsets < 1e-3
    assert differences.exceeding('fp32') == []


def shift_classes(heads: Heads) -> Heads:
    heads[0][:, 1:] += np.float32(0.02)
    return heads


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (shift_classes, 'logits'),
        (lambda heads: (heads[0], heads[1] - np.float32(0.02)), 'offsets'),
    ],
    ids=['logits', 'offsets'],
)
def test_differences_are_measured(
    model: MobileNetSsd,
    engine: Engine,
    train_samples: list[Sample],
    change: Callable[[Heads], Heads],
    name: str,
) -> None:
    images = load_calibration_images(train_samples[:1], model.spec)
    differences = compare_heads(TorchEngine(model), Disturbed(engine, change), images)
    assert getattr(differences, name) == pytest.approx(0.02, abs=1e-3)
    assert getattr(differences, f'mean_{name}') == pytest.approx(0.02, abs=1e-3)
    assert [line.split()[1] for line in differences.exceeding('fp32')] == [name]
    assert differences.exceeding('int8') == []


def test_a_shift_of_all_logits_changes_no_score_and_does_not_count(
    model: MobileNetSsd, engine: Engine, train_samples: list[Sample]
) -> None:
    images = load_calibration_images(train_samples[:1], model.spec)
    shifted = Disturbed(engine, lambda heads: (heads[0] + np.float32(0.5), heads[1]))
    assert compare_heads(TorchEngine(model), shifted, images).logits < 1e-3


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_differences_that_are_not_numbers_exceed_all_limits(precision: str) -> None:
    nan = float('nan')
    assert len(HeadDifferences(1, nan, 0.0, nan, 0.0).exceeding(precision)) == 1  # type: ignore[arg-type]
