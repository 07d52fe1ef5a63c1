"""Arrays, and what is none, in place of a photograph for the detector."""

from typing import Any

import numpy as np

from mnssd_attack.target import Target

__all__ = ['attack_detector']

TYPES = (
    'i1', 'u2', '>u2', 'i4', 'i8', 'f2', 'f4', 'f8', 'c8', '?', 'O', 'S3', 'U2', 'M8[s]', 'u1,u1',
    'V3',
)  # fmt: skip
THINGS: tuple[Any, ...] = (
    None, 0, -1, 3.5, 'image.jpg', '', b'', b'\0' * 300, [], [[[0, 0, 0]]], (), {}, {'data': 1},
    object, Ellipsis, range(9), np.uint8(3), np.array(None), memoryview(b'123'), bytearray(12),
)  # fmt: skip


def attack_detector(target: Target, generator: np.random.Generator) -> None:
    """
    Give the detector one thing that is hardly a photograph.

    :param target: what is attacked.
    :param generator: of the thing.
    """
    image = _thing(generator)
    found = target.detector.detect(image)
    target.check(found, image.shape[:2])


def _thing(generator: np.random.Generator) -> Any:
    """Make the thing."""
    if generator.random() < 0.15:
        return THINGS[int(generator.integers(0, len(THINGS)))]
    kind = 'u1' if generator.random() < 0.6 else str(generator.choice(TYPES))
    image = np.zeros(_shape(generator), kind)
    if image.dtype == np.uint8:
        image[...] = generator.integers(0, 256, image.shape, np.uint8)
    elif image.dtype.kind == 'f' and generator.random() < 0.5:
        image[...] = generator.choice([np.nan, np.inf, -1.0, 1e4])
    image = _view(image, generator)
    if generator.random() < 0.5:
        image.flags.writeable = False
    return image


def _shape(generator: np.random.Generator) -> tuple[int, ...]:
    """Choose a shape, more often than not that of some image."""
    sides = generator.choice([0, 1, 2, 3, 4, 7, 64, 321, 640, 5000, 32768, 40000], 2)
    if sides[0] * sides[1] > 1 << 21:
        sides[int(generator.integers(0, 2))] = 1
    height, width = sides.tolist()
    shapes = [
        *[(height, width, 3)] * 6, (height, width), (height, width, 1), (height, width, 4),
        (3, height, width), (1, height, width, 3), (height,), (), (1,) * 20, (height, width, 0),
    ]  # fmt: skip
    return shapes[int(generator.integers(0, len(shapes)))]


def _view(image: Any, generator: np.random.Generator) -> Any:
    """Look at an array in an unusual way."""
    way = generator.choice(['', '', 'back', 'step', 'turn', 'fortran', 'spread', 'overlap'])
    if way == 'back' and image.ndim:
        return image[::-1]
    if way == 'step' and image.ndim > 1:
        return image[:, ::3]
    if way == 'turn':
        return image.T
    if way == 'fortran':
        return np.asfortranarray(image)
    if way == 'spread' and image.ndim == 3 and image.size:
        return np.broadcast_to(image[:1, :1], (500, 400, image.shape[2]))
    if way == 'overlap' and image.ndim == 3 and image.size > 600:
        item = image.itemsize
        flat = np.ascontiguousarray(image).reshape(-1)
        return np.lib.stride_tricks.as_strided(flat, (20, 50, 3), (item * 5, item * 3, item))
    return image
