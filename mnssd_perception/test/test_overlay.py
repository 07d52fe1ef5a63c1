"""What is drawn, where, and that the image itself is left alone."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.overlay import class_colour, draw_detections
from mnssd_perception.ssd import Detections
import numpy as np
import pytest

NAMES = ('Person', 'Car')


def detections(*rows: tuple[float, ...]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


@pytest.mark.parametrize('shape', [(40, 60, 3), (40, 60), (1, 1, 3)])
def test_no_detections_give_a_copy(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 90, np.uint8)
    image.flags.writeable = False
    drawn = draw_detections(image, Detections.empty(), NAMES)
    assert drawn.shape == (*shape[:2], 3)
    assert (drawn == 90).all()
    assert not np.shares_memory(drawn, image)


def test_lines_lie_around_the_object_and_not_on_it() -> None:
    image = np.full((512, 640, 3), 128, np.uint8)
    drawn = draw_detections(image, detections((300, 200, 310, 220, 0.9, 0)), NAMES)
    assert (drawn[200:220, 300:310] == 128).all()
    assert (drawn[210, 299] == class_colour(0)).all()
    assert (drawn[210, 310] == class_colour(0)).all()
    assert (image == 128).all()


@pytest.mark.parametrize(
    'box', [(0, 0, 30, 20), (610, 0, 640, 20), (0, 490, 30, 512), (620, 500, 640, 512)]
)
def test_a_label_at_an_edge_stays_inside(box: tuple[float, ...]) -> None:
    image = np.zeros((512, 640, 3), np.uint8)
    drawn = draw_detections(image, detections((*box, 0.5, 1)), NAMES)
    plate = (drawn == class_colour(1)).all(axis=2)
    assert plate.sum() > 400  # more than the lines alone


def test_labels_do_not_cover_each_other_in_a_crowd() -> None:
    rows = [(300 + 8 * i, 200, 306 + 8 * i, 214, 0.9 - 0.01 * i, 0) for i in range(30)]
    image = np.zeros((512, 640, 3), np.uint8)
    drawn = draw_detections(image, detections(*rows), NAMES)
    hidden = [(drawn[202:212, 301 + 8 * i : 305 + 8 * i] != 0).mean() for i in range(30)]
    assert max(hidden) <= 0.5


def test_names_beyond_ascii_and_unknown_labels_are_drawn() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    rows = (10, 50, 60, 90, 0.5, 0), (100, 50, 150, 90, 0.5, 7)
    assert draw_detections(image, detections(*rows), ('Fußgänger',)).any()
    assert draw_detections(image, detections(*rows), ('人',)).any()


def test_classes_have_colours_that_differ_and_last() -> None:
    assert len({class_colour(label) for label in range(8)}) == 8
    assert class_colour(3) == class_colour(3)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.lists(
        st.tuples(
            *[st.floats(-1e4, 1e4, width=32) for _ in range(4)],
            st.floats(0, 1, width=32),
            st.integers(0, 9),
        ),
        max_size=6,
    ),
)
def test_any_boxes_on_any_image_can_be_drawn(
    shape: tuple[int, int], rows: list[tuple[float, ...]]
) -> None:
    drawn = draw_detections(np.zeros(shape, np.uint8), detections(*rows), NAMES)
    assert drawn.shape == (*shape, 3)
