"""Facts about image files, and near duplicates."""

from pathlib import Path

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.inspection.check_images import find_near_duplicates, LIMIT
from mnssd_training.inspection.image_facts import (
    perceptual_hash,
    read_all_image_facts,
    read_image_facts,
)
import numpy as np
import pytest


@pytest.fixture(scope='module')
def images(hit_uav: Path) -> list[Path]:
    return sorted((hit_uav / 'JPEGImages').glob('*.jpg'))


def test_no_images() -> None:
    assert list(read_all_image_facts([], 2)) == []
    assert list(find_near_duplicates(np.zeros((0, 256), np.bool_))) == []


def test_facts_of_a_grey_image(images: list[Path]) -> None:
    image = read_image_facts(images[0])
    assert image.error == ''
    assert image.size == (512, 640)
    assert (image.is_grey, image.has_channels, image.is_8_bit) == (
        True,
        False,
        True,
    )
    assert image.orientation == 1
    assert len(image.digest) == 64


def test_parallel_reading_gives_the_same_facts(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mnssd_training.inspection.image_facts.MIN_PARALLEL', 2)
    one, two = (list(read_all_image_facts(images[:3], workers)) for workers in (1, 2))
    assert [x.digest for x in one] == [x.digest for x in two]
    assert [x.path for x in two] == images[:3]


@pytest.mark.parametrize('content', [b'', b'\xff\xd8', b'no image', None])
def test_file_that_is_no_image_has_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'image.jpg'
    if content is not None:
        path.write_bytes(content)
    assert read_image_facts(path).error
    assert str(path) not in read_image_facts(path).error


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int((perceptual_hash(one) != perceptual_hash(other)).sum())


def test_perceptual_hash_is_stable_under_small_changes_only(images: list[Path]) -> None:
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in images]
    for image in images:
        smaller = cv2.resize(image, (213, 171), interpolation=cv2.INTER_AREA)
        darker = (image * 0.6).astype(np.uint8)
        worse = cv2.imdecode(
            cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_GRAYSCALE
        )
        for changed in (smaller, darker, worse):
            assert difference(image, changed) <= LIMIT
    different = [difference(a, b) for i, a in enumerate(images) for b in images[:i]]
    assert min(different) > 2 * LIMIT
    assert all(difference(image, image[:, ::-1]) > LIMIT for image in images)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num=st.integers(0, 12),
    limit=st.integers(0, 40),
)
def test_near_duplicates_equal_brute_force(seed: int, num: int, limit: int) -> None:
    generator = np.random.default_rng(seed)
    hashes = generator.random((num, 32)) < 0.5
    hashes[num // 2 :] = hashes[: num - num // 2] ^ (generator.random(32) < 0.1)
    expected = [
        (i, j, int((hashes[i] != hashes[j]).sum())) for i in range(num) for j in range(i + 1, num)
    ]
    assert sorted(find_near_duplicates(hashes, limit)) == [
        pair for pair in expected if pair[2] <= limit
    ]
