"""Images to detections, several at once and one at a time."""

from mnssd_perception.ssd import postprocess, resize_frame, resize_transform
from mnssd_training.data import load_image, Sample
from mnssd_training.evaluation import detect_model, SCORING
from mnssd_training.model import MobileNetSsd
import numpy as np
import pytest


def test_no_photograph(model: MobileNetSsd) -> None:
    assert detect_model(model, []) == []


@pytest.mark.parametrize('batch_size', [1, 3, 8])
def test_a_batch_finds_what_single_photographs_do(
    model: MobileNetSsd, train_samples: list[Sample], val_samples: list[Sample], batch_size: int
) -> None:
    samples = train_samples + val_samples
    done: list[int] = []
    found = detect_model(model, samples, done.append, batch_size=batch_size)
    assert sum(done) == len(samples) == len(found)
    spec = model.spec
    for sample, several in zip(samples, found):
        image = load_image(sample)
        plan = resize_transform(image.shape[:2], spec.input_size, spec.resize)
        single = postprocess(model.infer(resize_frame(image, plan)), spec, plan, SCORING)
        assert len(several) == len(single) > 0
        np.testing.assert_array_equal(several.labels, single.labels)
        np.testing.assert_allclose(several.scores, single.scores, atol=1e-5)
        np.testing.assert_allclose(several.boxes, single.boxes, atol=1e-2)
