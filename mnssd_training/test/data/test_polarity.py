from mnssd_training.data.polarity import with_turned_objects
import numpy as np


def scene(ground: int = 100, thing: int = 180) -> np.ndarray:
    image = np.full((40, 60, 3), ground, np.uint8)
    image[10:30, 20:40] = thing
    return image


def test_no_objects_change_nothing() -> None:
    image = scene()
    turned = with_turned_objects(image, np.zeros((0, 4), np.float32))
    np.testing.assert_array_equal(turned, image)
    assert turned is not image


def test_what_was_warmer_than_the_ground_is_cooler_by_as_much() -> None:
    turned = with_turned_objects(scene(), np.array([(20, 10, 40, 30)], np.float32))
    assert (turned[15:25, 25:35] == 20).all()
    np.testing.assert_array_equal(turned[:10], scene()[:10])


def test_the_corners_of_a_box_stay_as_they_are() -> None:
    turned = with_turned_objects(scene(), np.array([(20, 10, 40, 30)], np.float32))
    assert (turned[10, 20] == 180).all()


def test_brightness_ends_at_black_and_white() -> None:
    turned = with_turned_objects(scene(10, 250), np.array([(20, 10, 40, 30)], np.float32))
    assert (turned[20, 30] == 0).all()


def test_grey_stays_grey_and_tiny_or_outside_boxes_are_no_matter() -> None:
    boxes = np.array([(5, 5, 6, 6), (-9, -9, 2, 2), (55, 35, 99, 99), (0, 0, 60, 40)], np.float32)
    turned = with_turned_objects(scene(), boxes)
    assert (turned == turned[..., :1]).all()
