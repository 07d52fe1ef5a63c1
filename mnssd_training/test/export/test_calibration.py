"""Images for calibration: their choice, and how they become network inputs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.detector import Detector
from mnssd_perception.ssd import ModelSpec
from mnssd_training.data import load_image, Sample
from mnssd_training.errors import DatasetError, ExportError
from mnssd_training.export.calibration import (
    calibration_digest,
    choose_calibration_samples,
    load_calibration_images,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest

MakeSample = Callable[..., Sample]
BOX = (10, 10, 30, 30)


@pytest.fixture
def make_image_sample(tmp_path: Path, make_sample: MakeSample) -> MakeSample:
    """Make a sample whose image has one grey value."""

    def make(name: str, grey: int = 100, boxes: Sequence = (), labels: Sequence = ()) -> Sample:
        path = tmp_path / f'{name}.png'
        cv2.imwrite(str(path), np.full((100, 100, 3), grey, np.uint8))
        return make_sample(boxes, labels, size=(100, 100), name=name, path=path)

    return make


def names(samples: Sequence[Sample]) -> list[str]:
    return [sample.name for sample in samples]


@pytest.mark.parametrize('num', [0, 1, 4])
def test_fewer_samples_than_asked_for_are_refused(num: int, make_image_sample: MakeSample) -> None:
    samples = [make_image_sample(str(index)) for index in range(num and num - 1)]
    with pytest.raises(ExportError, match=rf'at least {max(num, 1)} training images .* got'):
        choose_calibration_samples(samples, num)


def test_all_samples_are_chosen_where_all_are_asked_for(val_samples: list[Sample]) -> None:
    chosen = choose_calibration_samples(val_samples, len(val_samples))
    assert sorted(names(chosen)) == sorted(names(val_samples))


def test_an_image_without_objects_comes_first(make_image_sample: MakeSample) -> None:
    crowded = [
        make_image_sample(f'a{index}', 100, [BOX, (0, 0, 90, 90)], [0, 1]) for index in range(5)
    ]
    empty = make_image_sample('z')
    assert names(choose_calibration_samples([*crowded, empty], 1)) == ['z']


def test_rare_classes_sizes_and_brightness_are_covered(make_image_sample: MakeSample) -> None:
    common = [make_image_sample(f'common{index:02}', 100, [BOX], [0]) for index in range(60)]
    rare = [
        make_image_sample('rare class', 100, [BOX], [1]),
        make_image_sample('large', 100, [(0, 0, 95, 95)], [0]),
        make_image_sample('tiny', 100, [(0, 0, 2, 2)], [0]),
        make_image_sample('empty', 100),
    ]
    chosen = choose_calibration_samples([*common, *rare], 5)
    assert set(names(rare)) < set(names(chosen))
    dark = make_image_sample('common59', 10, [BOX], [0])
    chosen = choose_calibration_samples([*common[40:59], dark], 5)
    assert 'common59' in names(chosen)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(12)))
def test_the_choice_does_not_depend_on_the_order(
    order: list[int], val_samples: list[Sample], train_samples: list[Sample]
) -> None:
    samples = sorted([*val_samples, *train_samples], key=lambda sample: sample.name)[:12]
    shuffled = [samples[index] for index in order if index < len(samples)]
    assert names(choose_calibration_samples(shuffled, 3)) == names(
        choose_calibration_samples(samples, 3)
    )


def test_an_unreadable_image_is_named(make_image_sample: MakeSample, spec: ModelSpec) -> None:
    samples = [make_image_sample(str(index)) for index in range(3)]
    Path(str(samples[1].path)).write_bytes(b'no image')
    with pytest.raises(DatasetError, match='1.png'):
        choose_calibration_samples(samples, 3)
    with pytest.raises(DatasetError, match='1.png'):
        load_calibration_images(samples, spec)


# --- loading ---------------------------------------------------------------------------------


def test_nothing_to_load_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(ExportError, match='expected images to calibrate .* got none'):
        load_calibration_images([], spec)
    (tmp_path / 'readme.txt').write_text('no image')
    with pytest.raises(DatasetError, match='expected images .* found none; supported are .bmp'):
        load_calibration_images(tmp_path, spec)
    with pytest.raises(DatasetError, match='missing: cannot list the folder: No such file'):
        load_calibration_images(tmp_path / 'missing', spec)


def test_a_folder_gives_all_its_images_by_name(
    spec: ModelSpec, make_image_sample: MakeSample, tmp_path: Path
) -> None:
    samples = [make_image_sample(name, grey) for name, grey in (('b', 200), ('a', 50))]
    images = load_calibration_images(tmp_path, spec)
    assert [int(image.mean()) for image in images] == [50, 200]
    assert [image.shape for image in images] == [(*spec.input_size, 3)] * 2
    for image, expected in zip(images[::-1], load_calibration_images(samples, spec)):
        np.testing.assert_array_equal(image, expected)
    (tmp_path / 'c.png').write_bytes(b'no image')
    with pytest.raises(DatasetError, match='c.png'):
        load_calibration_images(tmp_path, spec)


@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
def test_the_inputs_are_those_of_the_drone(
    resize: str, model: MobileNetSsd, val_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector hands the engine the same array."""
    engine = TorchEngine(model)
    engine.spec = spec = ModelSpec(
        model.spec.input_size, model.spec.class_names, model.spec.feature_maps, resize=resize
    )
    seen = []
    infer = engine.infer
    monkeypatch.setattr(
        engine, 'infer', lambda image: (seen.append(image.copy()), infer(image))[1]
    )
    Detector(engine).detect(load_image(val_samples[0]))
    np.testing.assert_array_equal(load_calibration_images(val_samples[:1], spec)[0], seen[0])


def test_the_digest_tells_images_apart() -> None:
    black, white = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    digests = [
        calibration_digest(images)
        for images in ([], [black], [white], [black, white], [black.reshape(3, 2, 3)])
    ]
    assert len(set(digests)) == len(digests)
    assert calibration_digest([black, white]) == digests[3]
    assert all(len(digest) == len('sha256:') + 64 for digest in digests)
