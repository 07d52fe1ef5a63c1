"""Sound bytes to damaged bytes."""

import numpy as np

__all__ = ['spoil']


def spoil(content: bytes, generator: np.random.Generator) -> bytes:
    """
    Damage bytes in one of the ways in which disks, networks and people do.

    :param content: sound bytes.
    :param generator: of the damage.
    :return: damaged bytes; now and then equal to the sound ones.
    """
    data = bytearray(content)
    place = int(generator.integers(0, max(1, len(data))))
    size = int(generator.integers(1, 1 + min(len(data) + 1, 2 ** int(generator.integers(0, 14)))))
    way = generator.choice(['cut', 'flip', 'zero', 'noise', 'drop', 'double', 'insert', 'few'])
    if way == 'cut':
        return bytes(data[:place])
    if way == 'flip' and data:
        data[place] ^= 1 << int(generator.integers(0, 8))
    elif way == 'zero':
        data[place : place + size] = bytes(len(data[place : place + size]))
    elif way == 'noise':
        data[place : place + size] = generator.bytes(len(data[place : place + size]))
    elif way == 'drop':
        del data[place : place + size]
    elif way == 'double':
        data[place:place] = data[place : place + size]
    elif way == 'insert':
        data[place:place] = generator.bytes(size)
    elif way == 'few' and data:
        for spot in generator.integers(0, len(data), 8):
            data[spot] = int(generator.integers(0, 256))
    return bytes(data)
