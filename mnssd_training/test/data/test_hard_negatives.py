"""False positives of an earlier model: their file, and crops around them."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import load_experiment
from mnssd_training.data import Sample
from mnssd_training.data.hard_negatives import (
    attach_hard_negatives,
    HardNegative,
    HardNegatives,
)
from mnssd_training.data.transforms import augment, NO_AUGMENTATION
from mnssd_training.errors import ConfigError, DatasetError
import numpy as np
import pytest

ENTRY: dict[str, Any] = {'image': 'a', 'class_name': 'Car', 'box': [1, 2, 30, 40], 'score': 0.9}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], str]:
    def write_json(plain: Any) -> str:
        path = tmp_path / 'negatives.json'
        path.write_text(plain if isinstance(plain, str) else json.dumps(plain))
        return str(path)

    return write_json


def test_samples_have_none_by_default(make_sample: Callable[..., Sample]) -> None:
    samples = [make_sample()]
    assert samples[0].hard_negatives.shape == (0, 4)
    assert attach_hard_negatives(samples, '') == (samples, [])


def test_entries_are_attached_by_name(
    make_sample: Callable[..., Sample], write: Callable[[Any], str]
) -> None:
    samples = [make_sample(name=name) for name in 'abc']
    entries = [
        ENTRY,
        ENTRY | {'box': [5, 5, 9, 9]},
        ENTRY | {'image': 'c'},
        ENTRY | {'image': 'x'},
    ]
    attached, note = attach_hard_negatives(samples, write(entries))
    assert [sample.hard_negatives.tolist() for sample in attached] == [
        [[1, 2, 30, 40], [5, 5, 9, 9]], [], [[1, 2, 30, 40]],
    ]  # fmt: skip
    assert attached[1] is samples[1]
    assert note == ['3 hard negatives in 2 training images; 1 on other images are not used']


def test_file_that_was_written_is_read(
    make_sample: Callable[..., Sample], write: Callable[[Any], str]
) -> None:
    entry = HardNegative.model_validate_json(json.dumps(ENTRY))
    path = write(HardNegatives.dump_json((entry,), indent=1).decode())
    ((sample,), _) = attach_hard_negatives([make_sample(name='a')], path)
    assert sample.hard_negatives.tolist() == [[1, 2, 30, 40]]


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('', 'got Invalid JSON'),
        ('[' * 100_000, 'got Invalid JSON'),
        ({}, 'got Input should be a valid array'),
        ([], 'but it is empty'),
        ([ENTRY | {'image': 'x'}], "those of others, such as 'x'; write it with mnssd evaluate"),
        ([ENTRY, {'image': 'a'}], r'got 1\.class_name: Field required'),
        ([ENTRY | {'box': [1, 2, 1, 3]}], 'expected x1 < x2'),
        ([ENTRY | {'box': [1, 2, 3]}], r'got 0\.box'),
        ('[{"image": "a", "class_name": "b", "box": [0, 0, NaN, 9], "score": 1}]', 'finite|JSON'),
        ([ENTRY | {'kind': 'a'}], r'got 0\.kind: Extra inputs'),
    ],
)
def test_bad_file_is_refused(
    make_sample: Callable[..., Sample], write: Callable[[Any], str], content: Any, reason: str
) -> None:
    path = write(content)
    with pytest.raises(DatasetError, match=reason) as raised:
        attach_hard_negatives([make_sample(name='a')], path)
    assert str(raised.value.path) == path


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='no such file'):
        attach_hard_negatives([], str(tmp_path / 'none.json'))


def test_crops_without_a_file_are_refused() -> None:
    crop = 'augmentation.hard_negative_crop=0.5'
    with pytest.raises(ConfigError, match=r'hard_negative_crop: expected data\.hard_negatives'):
        load_experiment('smoke', [crop], {})
    experiment = load_experiment('smoke', [crop, 'data.hard_negatives=a.json'], {})
    assert experiment.augmentation.hard_negative_crop == 0.5


@pytest.mark.parametrize('probability', [0.0, 0.5, 1.0])
def test_large_scale_jitter_is_around_hard_negatives(
    train_samples: list[Sample], write: Callable[[Any], str], probability: float
) -> None:
    """The window of a crop shows the ignore region that stands for the false positive."""
    sample = train_samples[0]
    box = [600, 490, 610, 500]
    ((sample,), _) = attach_hard_negatives(
        [sample], write([ENTRY | {'image': sample.name, 'box': box}])
    )
    marked = replace(
        sample,
        boxes=sample.boxes[:0],
        labels=sample.labels[:0],
        ignore=np.array([box], np.float32),
    )
    update = {
        'large_scale_jitter': 1.0,
        'large_scale_jitter_range': (1.0, 2.0),
        'hard_negative_crop': probability,
    }
    config = NO_AUGMENTATION.model_copy(update=update)
    spec = ModelSpec((512, 640), tuple('abcd'), (feature_map((512, 640), 32, ((32.0, 32.0),)),))
    shown = [
        len(augment([marked], 0, spec, (96, 120), config, np.random.default_rng(seed)).ignore)
        for seed in range(60)
    ]
    by_chance = 0.1
    assert abs(np.mean(shown) - probability) < 0.2 + by_chance * (1 - probability)
    if probability == 1:
        assert all(shown)
