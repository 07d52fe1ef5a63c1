"""Check image files, alone and beside each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mnssd_training.data.problems import Problem
from mnssd_training.data.remote import ShardEntry
from mnssd_training.inspection.image_boxes import CheckedImage


def check_image(image: CheckedImage) -> Iterator[Problem]:
    """Find what is wrong with one image file."""
    record, facts = image.record, image.facts
    file = str(record.path)
    if facts is None:  # reported by the parser
        return
    if facts.error:
        yield Problem('image unreadable', file, '', facts.error)
        return
    if record.size is not None and record.size != facts.size:
        height, width = facts.size
        message = f'{width} x {height} pixels, annotated as {record.size[1]} x {record.size[0]}'
        yield Problem('size differs', file, '', message)
    if facts.orientation != 1:
        message = f'EXIF orientation {facts.orientation}: the image is rotated upright'
        yield Problem('orientation set', file, '', message)
    if not facts.is_8_bit:
        yield Problem('not 8 bit', file, '', 'a channel has more than 8 bits')


def check_colours(images: Sequence[CheckedImage]) -> Iterator[Problem]:
    """Find grey images among coloured ones, and the other way round."""
    by_path = {image.record.path: image.facts for image in images}
    readable = [facts for facts in by_path.values() if facts is not None and not facts.error]
    grey = [facts for facts in readable if facts.is_grey]
    coloured = [facts for facts in readable if not facts.is_grey]
    if grey and coloured:
        minority, kind = coloured, 'colour among grey'
        if len(grey) <= len(coloured):
            minority, kind = grey, 'grey among colour'
        message = f'one of {len(minority)} of {len(readable)} images'
        yield from (Problem(kind, str(facts.path), '', message) for facts in minority)
    for facts in grey:
        if facts.has_channels:
            message = 'all channels are the same'
            yield Problem('grey stored as colour', str(facts.path), '', message)


def check_splits(images: Sequence[CheckedImage]) -> Iterator[Problem]:
    """Find images that are on the lists of two splits."""
    first_splits: dict[Path | ShardEntry, str] = {}
    for image in images:
        first = first_splits.setdefault(image.record.path, image.split)
        if first != image.split:
            message = f'in {first} and in {image.split}'
            yield Problem('in two splits', str(image.record.path), '', message)
