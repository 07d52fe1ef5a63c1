"""Records of boxes become samples, or problems."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.data.annotations import (
    AnnotationBuilder,
    BoxRecord,
    find_box_problem,
    ImageRecord,
    read_class_list,
)
from mnssd_training.data.problems import Problem
from mnssd_training.data.sample import ANY_CLASS
import numpy as np
import pytest

EDGE = st.floats(allow_nan=False, allow_infinity=False)


def test_no_boxes() -> None:
    boxes, labels, ignore, ignore_labels = AnnotationBuilder(640, 512).arrays()
    assert boxes.shape == ignore.shape == (0, 4)
    assert labels.shape == ignore_labels.shape == (0,)
    assert boxes.dtype == ignore.dtype == np.float32
    assert labels.dtype == ignore_labels.dtype == np.int64


def test_ignore_regions_are_separate_from_objects() -> None:
    regions = AnnotationBuilder(640, 512)
    regions.add((0, 0, 1, 1), 2)
    regions.add((0, 0, 2, 2), 2, ignore=True)
    regions.add((0, 0, 3, 3), ANY_CLASS)
    boxes, labels, ignore, ignore_labels = regions.arrays()
    assert (boxes[:, 2].tolist(), labels.tolist()) == ([1], [2])
    assert (ignore[:, 2].tolist(), ignore_labels.tolist()) == ([2, 3], [2, ANY_CLASS])


@given(box=st.tuples(EDGE, EDGE, EDGE, EDGE))
def test_clipped_box_is_inside_the_image_and_has_area(box: tuple[float, ...]) -> None:
    regions = AnnotationBuilder(640, 512)
    cut = regions.clip(box)
    if cut is None:
        return
    x1, y1, x2, y2 = np.float32(cut)
    assert 0 <= x1 < x2 <= 640
    assert 0 <= y1 < y2 <= 512


@pytest.mark.parametrize('text', [b'\xef\xbb\xbfa\r\n b c \r\n\r\n', b'a\nb c'])
def test_class_list_is_read_with_bom_and_crlf(tmp_path: Path, text: bytes) -> None:
    (tmp_path / 'classes.txt').write_bytes(text)
    problems: list[Problem] = []
    assert read_class_list(tmp_path / 'classes.txt', problems) == ('a', 'b c')
    assert problems == []


@pytest.mark.parametrize(
    ('edges', 'kind'),
    [
        ((1, 1, 2, 2), None),
        ((-5, -5, 700, 600), None),
        ((5, 1, 2, 2), 'box inverted'),
        ((900, 9, 800, 5), 'box inverted'),
        ((1, 5, 2, 5), 'box degenerate'),
        ((600, 20, 600.000001, 40), 'box degenerate'),  # nothing is left as float32
        ((640, 1, 650, 2), 'box degenerate'),  # touches the image
        ((641, 1, 650, 2), 'box off image'),
        ((-9, -9, -1, 5), 'box off image'),
    ],
)
def test_box_without_area_in_the_image_is_a_problem(
    edges: tuple[float, float, float, float], kind: str | None
) -> None:
    box = BoxRecord('line 1', 'Car', edges)
    record = ImageRecord('a', Path('a.jpg'), Path('a.txt'), (512, 640), (box,))
    problem = find_box_problem(record, box, edges, (512, 640))
    assert (problem and problem.kind) == kind
    if problem:
        assert (problem.file, problem.location) == (Path('a.txt'), 'line 1')
        expected = {
            'box inverted': 'x1 <= x2 and y1 <= y2',
            'box degenerate': 'a box with an area in the image',
            'box off image': 'a box inside 640 x 512 pixels',
        }[problem.kind]
        assert problem.message.startswith(f'expected {expected}, got Car (')
