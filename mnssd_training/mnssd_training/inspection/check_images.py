"""Image files to what is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence

from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.photograph import Photograph
from mnssd_training.inspection.records import Entry, Place


def check_image(entry: Entry, photograph: Photograph | None) -> Iterator[Finding]:
    """
    Find what is wrong with one image file.

    :param entry: what its annotation says.
    :param image: what the file holds; None if there is no such file.
    :return: the findings.
    """
    file = str(entry.image)
    if photograph is None:
        yield Finding('image missing', file, '', f'named by the split {entry.split!r}')
        return
    if photograph.error:
        yield Finding('image unreadable', file, '', photograph.error)
        return
    if entry.size is not None and entry.size != photograph.size:
        height, width = photograph.size
        words = f'{width} x {height} pixels, annotated as {entry.size[1]} x {entry.size[0]}'
        yield Finding('size differs', file, '', words)
    if photograph.orientation != 1:
        words = f'EXIF orientation {photograph.orientation}: the image is turned upright'
        yield Finding('orientation set', file, '', words)
    if not photograph.is_8_bit:
        yield Finding('not 8 bit', file, '', 'a channel has more than 8 bits')


def check_colours(
    entries: Sequence[Entry], photographs: Mapping[Place, Photograph]
) -> Iterator[Finding]:
    """
    Find grey images among coloured ones, and the other way round.

    :param entries: the images of the dataset.
    :param images: those that could be read, by path.
    :return: the findings.
    """
    found = [
        photographs[path]
        for path in dict.fromkeys(entry.image for entry in entries)
        if path in photographs and not photographs[path].error
    ]
    grey = [photograph for photograph in found if photograph.is_grey]
    coloured = [photograph for photograph in found if not photograph.is_grey]
    if grey and coloured:
        few, kind = (
            (grey, 'grey among colour')
            if len(grey) <= len(coloured)
            else (coloured, 'colour among grey')
        )
        words = f'one of {len(few)} of {len(found)} images'
        yield from (Finding(kind, str(photograph.path), '', words) for photograph in few)
    for photograph in grey:
        if photograph.has_channels:
            words = 'all channels are the same'
            yield Finding('grey stored as colour', str(photograph.path), '', words)
