"""Augmented boxes against the pixels that they must cover."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import feature_map, ModelSpec, resize_frame, resize_transform
from mnssd_training.config import AugmentationConfig
from mnssd_training.data import Sample, transforms
from mnssd_training.data.sample import ANY_CLASS, load_image
from mnssd_training.data.transforms import augment, NetworkSample, NO_AUGMENTATION
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray
import pytest

FLIPS: dict[str, Any] = {'horizontal_flip': 0.5, 'vertical_flip': 0.5, 'min_box_size': 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    'none': {},
    'flips': {},
    'ssd': {'zoom_out': 0.5, 'zoom_out_max_scale': 3.0, 'iou_crop': 0.8},
    'jitter': {
        'large_scale_jitter': 1.0,
        'large_scale_jitter_range': (0.2, 3.0),
        'large_scale_jitter_max_aspect': 1.5,
    },
    'mosaic': {'mosaic': 1.0},
    'all': {
        'mosaic': 0.5,
        'large_scale_jitter': 0.5,
        'large_scale_jitter_range': (0.5, 2.0),
        'zoom_out': 0.5,
        'iou_crop': 0.5,
    },
}
CONFIGS = {
    name: NO_AUGMENTATION.model_copy(
        update=(FLIPS if name != 'none' else {'min_box_size': 0.0}) | recipe
    )
    for name, recipe in RECIPES.items()
}


def spec_of(size: tuple[int, int], resize: Any = 'stretch') -> ModelSpec:
    return ModelSpec(size, tuple('abcd'), (feature_map(size, 32, ((32.0, 32.0),)),), resize)


def sample_of(
    size: tuple[int, int], objects: Any = (), regions: Any = (), name: str = 'painted'
) -> Sample:
    objects, regions = (np.array(boxes, np.float32).reshape(-1, 4) for boxes in (objects, regions))
    labels = np.arange(len(objects), dtype=np.int64)
    hidden = np.full(len(regions), ANY_CLASS, np.int64)
    return Sample(name, Path(f'{name}.png'), size, objects, labels, regions, hidden)


@contextmanager
def fake_images(paint: Callable[[Sample], NDArray[np.uint8]]) -> Iterator[None]:
    """Paint images instead of reading them."""
    with patch.object(transforms, 'load_image', paint):
        yield


def see(
    samples: list[Sample],
    config: AugmentationConfig | None,
    size: tuple[int, int],
    seed: int = 0,
    resize: str = 'stretch',
    full: tuple[int, int] | None = None,
) -> NetworkSample:
    generator = np.random.default_rng(seed)
    return augment(samples, 0, spec_of(full or size, resize), size, config, generator)


# --- pixels and boxes ------------------------------------------------------------------------


@st.composite
def scenes(draw: st.DrawFn) -> Sample:
    """Draw an image of up to four rectangles, some of them ignore regions."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    boxes: list[list[tuple[int, int, int, int]]] = [[], []]
    for _ in range(draw(st.integers(0, 4))):
        x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
        boxes[draw(st.booleans())].append((x1, y1, x2, y2))
    return sample_of((height, width), boxes[0], boxes[1])


def painted(box: NDArray[np.float32]) -> Callable[[Sample], NDArray[np.uint8]]:
    """Paint one rectangle white, wherever it is met."""

    def paint(sample: Sample) -> NDArray[np.uint8]:
        image = np.zeros((*sample.size, 3), np.uint8)
        x1, y1, x2, y2 = box.astype(int)
        image[y1:y2, x1:x2] = 255
        return image

    return paint


def beyond(boxes: NDArray[Any], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pick the lit pixels that lie more than a pixel outside of all boxes."""
    height, width = image.shape[:2]
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    is_lit = image[..., 0] > 127
    for x1, y1, x2, y2 in boxes * ((width, height) * 2) + np.array((-1, -1, 1, 1)):
        inside = ((rows >= y1) & (rows <= y2))[:, None] & (columns >= x1) & (columns <= x2)
        is_lit &= ~inside
    return is_lit


def fills(box: NDArray[Any], image: NDArray[np.uint8]) -> bool:
    """Tell whether the middle row and column of a box are lit but for their outermost pixels."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box * ((width, height) * 2)
    across, down = (
        slice(math.ceil(low + 0.5), max(math.floor(high - 0.5), 0))
        for low, high in ((x1, x2), (y1, y2))
    )
    lines = []
    if y2 - y1 >= 2:  # what is thinner may lie between two rows that are sampled
        lines.append(image[int((y1 + y2) / 2), across, 0])
    if x2 - x1 >= 2:
        lines.append(image[down, int((x1 + x2) / 2), 0])
    # Half as bright as the middle: where the edge is, however much it is blurred.
    return all(line.min() > line.max() / 2 - 2 and line.max() > 127 for line in lines if len(line))


@settings(max_examples=150, deadline=None)
@given(
    scenes(),
    st.sampled_from(sorted(CONFIGS)),
    st.tuples(st.integers(2, 48), st.integers(2, 48)),
    st.sampled_from(['stretch', 'letterbox']),
    st.integers(0, 2**32),
)
def test_boxes_and_ignore_regions_follow_their_pixels(
    sample: Sample, name: str, size: tuple[int, int], resize: str, seed: int
) -> None:
    def look_at(paint: Callable[[Sample], NDArray[np.uint8]]) -> NetworkSample:
        with fake_images(paint):
            return see([sample], CONFIGS[name], size, seed, resize, full=(64, 80))

    for label, box in enumerate(sample.boxes):
        seen = look_at(painted(box))
        own = seen.boxes[seen.labels == label]
        assert all(fills(one, seen.image) for one in own)  # no padding, nothing else
        assert not beyond(np.concatenate((own, seen.ignore)), seen.image).any()
    for box in sample.ignore:
        seen = look_at(painted(box))
        assert not beyond(seen.ignore, seen.image).any()

    seen = look_at(lambda one: np.zeros((*one.size, 3), np.uint8))
    assert seen.image.shape == (*size, 3)
    for boxes in (seen.boxes, seen.ignore):
        assert boxes.dtype == np.float32
        assert boxes.shape == (len(boxes), 4)
        assert (boxes >= 0).all()
        assert (boxes <= 1).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert seen.labels.shape == (len(seen.boxes),)
    if name in ('none', 'flips'):
        assert sorted(seen.labels.tolist()) == list(range(len(sample.boxes)))
        assert len(seen.ignore) == len(sample.ignore)


@pytest.mark.parametrize('name', sorted(CONFIGS))
def test_images_of_any_size_without_objects_are_augmented(name: str) -> None:
    sizes = [(1, 1), (312, 1280), (1, 900), (900, 1), (40, 50)]
    goals = [('stretch', (32, 40)), ('letterbox', (40, 32)), ('stretch', (1, 1))]
    with fake_images(lambda sample: np.full((*sample.size, 3), 90, np.uint8)):
        for size, (resize, target), seed in product(sizes, goals, range(6)):
            seen = see([sample_of(size)], CONFIGS[name], target, seed, resize)
            assert seen.image.shape == (*target, 3)
            assert seen.boxes.shape == seen.ignore.shape == (0, 4)
            assert seen.labels.shape == (0,)
            assert (seen.image == 90).any()


# --- what the drone sees ---------------------------------------------------------------------


@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
@pytest.mark.parametrize('size', [(160, 160), (512, 640), (96, 300), (700, 700)], ids=str)
def test_no_augmentation_equals_the_resize_of_the_drone(
    train_samples: list[Sample], size: tuple[int, int], resize: Any
) -> None:
    sample = train_samples[0]
    plan = resize_transform(sample.size, size, resize)
    seen = see([sample], None, size, resize=resize)
    assert np.array_equal(seen.image, resize_frame(load_image(sample), plan))
    np.testing.assert_allclose(seen.boxes, plan.to_input(sample.boxes), atol=1e-6)
    assert np.array_equal(seen.labels, sample.labels)


def test_large_scale_jitter_at_scale_1_crops_the_resized_image(
    train_samples: list[Sample],
) -> None:
    config = NO_AUGMENTATION.model_copy(
        update={'large_scale_jitter': 1.0, 'large_scale_jitter_range': (1.0, 1.0)}
    )
    sample = train_samples[0]
    seen = see([sample], config, (128, 160), full=sample.size)
    whole = load_image(sample)
    windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (128, 160))
    corners = np.argwhere((windows[..., 0, :] == seen.image[0, :, 0]).all(axis=2))
    assert any(
        np.array_equal(whole[y : y + 128, x : x + 160], seen.image) for y, x in corners.tolist()
    )


# --- what becomes of objects ------------------------------------------------------------------


def test_a_truncated_object_becomes_an_ignore_region() -> None:
    sample = sample_of((200, 250), [(0, 0, 250, 40), (100, 80, 130, 110)])
    met = set()
    with fake_images(lambda sample: np.zeros((*sample.size, 3), np.uint8)):
        for seed in range(60):
            config = NO_AUGMENTATION.model_copy(
                update={'iou_crop': 1.0, 'iou_crop_min_ious': (0.0, 1.0)}
            )
            seen = see([sample], config, (100, 100), seed)
            met.add((0 in seen.labels, len(seen.ignore) > 0))
    assert {(True, False), (False, True)} <= met


@pytest.mark.parametrize(('part', 'is_object'), [(0.45, True), (0.55, False)])
def test_min_visibility_decides_between_object_and_ignore_region(
    part: float, is_object: bool
) -> None:
    config = NO_AUGMENTATION.model_copy(update={'min_visibility': part})
    sample = sample_of((100, 100), [(-20, 0, 20, 30)])  # half of it is beyond the image
    with fake_images(lambda sample: np.zeros((*sample.size, 3), np.uint8)):
        seen = see([sample], config, (50, 50))
    assert (len(seen.boxes), len(seen.ignore)) == (int(is_object), int(not is_object))
    np.testing.assert_allclose(np.concatenate((seen.boxes, seen.ignore)), [[0, 0, 0.2, 0.3]])


def test_small_boxes_become_ignore_regions() -> None:
    sample = sample_of((100, 100), [(0, 0, 10, 10), (20, 20, 60, 23), (30, 30, 70, 70)])
    config = NO_AUGMENTATION.model_copy(update={'min_box_size': 2.0})
    with fake_images(lambda sample: np.zeros((*sample.size, 3), np.uint8)):
        seen = see([sample], config, (50, 50))
    assert seen.labels.tolist() == [0, 2]
    np.testing.assert_allclose(seen.ignore, [[0.2, 0.2, 0.6, 0.23]], atol=1e-6)


# --- several images in one ---------------------------------------------------------------


def greys(sample: Sample) -> NDArray[np.uint8]:
    return np.full((*sample.size, 3), int(sample.name), np.uint8)


def test_mosaic_shows_four_images_with_their_objects() -> None:
    samples = [
        sample_of((100, 120), [(0, 0, 120, 100)], name=str(grey)) for grey in range(10, 250, 30)
    ]
    changes = {
        'mosaic': 1.0,
        'large_scale_jitter': 1.0,
        'large_scale_jitter_range': (1.0, 1.0),
        'min_visibility': 0.01,
    }
    config = NO_AUGMENTATION.model_copy(update=changes)
    partners = set()
    with fake_images(greys):
        for seed in range(20):
            seen = see(samples, config, (64, 64), seed)
            assert len(seen.boxes) == 4
            assert set(np.unique(seen.image)) <= {10, *range(10, 250, 30)}  # no padding here
            pixels = (seen.boxes * 64).round().astype(int)
            assert (pixels[0, 2:] == pixels[3, :2]).all()
            assert ((pixels[0, 2:] >= 16) & (pixels[0, 2:] <= 48)).all()
            tones = [np.unique(seen.image[y1:y2, x1:x2]) for x1, y1, x2, y2 in pixels.tolist()]
            assert all(len(tone) == 1 for tone in tones)
            assert tones[0] == 10  # the one that was asked for
            partners |= {int(tone[0]) for tone in tones[1:]}
    assert len(partners) > 5


def test_mixup_blends_two_images_with_their_objects() -> None:
    samples = [
        sample_of((50, 50), [(0, 0, 20, 30)], name='0'),
        sample_of((80, 40), [(0, 0, 20, 8)], [(20, 40, 40, 80)], name='200'),
    ]
    config = NO_AUGMENTATION.model_copy(update={'mixup': 1.0})
    greys_met, pairs = set(), 0
    with fake_images(greys):
        for seed in range(40):
            seen = see(samples, config, (50, 50), seed)
            assert len(seen.boxes) == 2
            np.testing.assert_allclose(seen.boxes[0], [0, 0, 0.4, 0.6])
            assert len(np.unique(seen.image)) == 1
            grey = int(seen.image[0, 0, 0])
            if len(seen.ignore):  # the partner is the other one
                pairs += 1
                greys_met.add(grey)
                np.testing.assert_allclose(seen.boxes[1], [0, 0, 0.5, 0.1])
                np.testing.assert_allclose(seen.ignore, [[0.5, 0.5, 1, 1]])
            else:
                assert grey == 0
    assert 10 < pairs < 30
    assert 10 < min(greys_met) < 80
    assert 120 < max(greys_met) < 190


# --- tones ------------------------------------------------------------------------------------


def test_object_tone_changes_objects_only() -> None:
    box = (20, 10, 32, 26)
    config = NO_AUGMENTATION.model_copy(
        update={'object_tone': 0.5, 'object_tone_range': (0.5, 0.9), 'horizontal_flip': 0.5}
    )
    sample = sample_of((48, 64), [box])
    levels = []
    with fake_images(painted(np.array(box, np.float32))):
        for seed in range(40):
            seen = see([sample], config, (48, 64), seed)
            x1, y1, x2, y2 = np.rint(seen.boxes[0] * (64, 48, 64, 48)).astype(int)
            levels.append(int(seen.image[(y1 + y2) // 2, (x1 + x2) // 2, 0]))
            seen.image[y1:y2, x1:x2] = 0
            assert not seen.image.any()
    assert 10 < levels.count(255) < 30
    changed = [level for level in levels if level < 255]
    assert 255 * 0.5 <= min(changed) < max(changed) <= 255 * 0.9


def test_tones_and_noise_come_after_all_other_draws(train_samples: list[Sample]) -> None:
    """They change no box, and what came before them is what it was without them."""
    plain = AugmentationConfig(large_scale_jitter=0.5, mosaic=0.3)
    update = {'gamma': 1.5, 'object_tone': 1.0, 'blur': 1.0, 'noise': 8.0}
    changed = plain.model_copy(update=update)
    pairs = [
        [see(train_samples, config, (96, 120), seed) for config in (plain, changed)]
        for seed in range(8)
    ]
    assert all(np.array_equal(one.boxes, other.boxes) for one, other in pairs)
    assert all((one.image != other.image).any() for one, other in pairs)


# --- habits -----------------------------------------------------------------------------------


def test_the_source_image_is_not_changed(train_samples: list[Sample]) -> None:
    sample = train_samples[0]
    image = load_image(sample)
    before, boxes = image.copy(), sample.boxes.copy()
    image.setflags(write=False)
    config = AugmentationConfig(
        mosaic=0.3, mixup=0.3, large_scale_jitter=0.3, invert=0.3, equalize=0.3
    )
    with fake_images(lambda sample: image):
        for seed in range(10):
            seen = see([sample], config, (96, 120), seed)
            assert seen.image.dtype == np.uint8
            assert seen.image.flags.c_contiguous
            assert not np.shares_memory(seen.image, image)
    assert np.array_equal(image, before)
    assert np.array_equal(sample.boxes, boxes)


def test_the_same_generator_gives_the_same_input(train_samples: list[Sample]) -> None:
    config = AugmentationConfig(
        mosaic=0.3, mixup=0.3, large_scale_jitter=0.3, invert=0.3, equalize=0.3
    )
    seen = [[see(train_samples, config, (96, 120), seed) for seed in range(5)] for _ in range(2)]
    for one, other in zip(*seen, strict=True):
        for name in ('image', 'boxes', 'labels', 'ignore'):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert len({one.image.tobytes() for one in seen[0]}) == 5


def test_a_missing_image_is_named(train_samples: list[Sample]) -> None:
    gone = replace(train_samples[0], path=Path('gone.jpg'))
    with pytest.raises(DatasetError, match=r'gone\.jpg'):
        see([gone], None, (32, 32))
