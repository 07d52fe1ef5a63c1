"""What is told of an image file, and which images look alike."""

from pathlib import Path

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.inspection.look_alikes import find_near_duplicates, LIMIT
from mnssd_training.inspection.photograph import look_at, look_at_all, perceptual_hash
import numpy as np
import pytest


@pytest.fixture(scope='module')
def photographs(hit_uav: Path) -> list[Path]:
    return sorted((hit_uav / 'JPEGImages').glob('*.jpg'))


def test_no_images() -> None:
    assert list(look_at_all([], 2)) == []
    assert list(find_near_duplicates(np.zeros((0, 256), np.bool_))) == []


def test_a_grey_photograph(photographs: list[Path]) -> None:
    photograph = look_at(photographs[0])
    assert photograph.error == ''
    assert photograph.size == (512, 640)
    assert (photograph.is_grey, photograph.has_channels, photograph.is_8_bit) == (
        True,
        False,
        True,
    )
    assert photograph.orientation == 1
    assert len(photograph.digest) == 64


def test_processes_make_no_difference(
    photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mnssd_training.inspection.photograph.FEW', 2)
    one, two = (list(look_at_all(photographs[:3], workers)) for workers in (1, 2))
    assert [x.digest for x in one] == [x.digest for x in two]
    assert [x.path for x in two] == photographs[:3]


@pytest.mark.parametrize('content', [b'', b'\xff\xd8', b'no image', None])
def test_what_is_no_image(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'image.jpg'
    if content is not None:
        path.write_bytes(content)
    assert look_at(path).error
    assert str(path) not in look_at(path).error


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int((perceptual_hash(one) != perceptual_hash(other)).sum())


def test_a_changed_photograph_looks_alike_and_others_do_not(photographs: list[Path]) -> None:
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in photographs]
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
def test_near_pairs_are_those_of_all_pairs(seed: int, num: int, limit: int) -> None:
    generator = np.random.default_rng(seed)
    hashes = generator.random((num, 32)) < 0.5
    hashes[num // 2 :] = hashes[: num - num // 2] ^ (generator.random(32) < 0.1)
    expected = [
        (i, j, int((hashes[i] != hashes[j]).sum())) for i in range(num) for j in range(i + 1, num)
    ]
    assert sorted(find_near_duplicates(hashes, limit)) == [
        pair for pair in expected if pair[2] <= limit
    ]
