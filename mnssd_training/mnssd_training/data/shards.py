"""
Shards to samples: images in tars, with an index beside them.

``<split>-000000.tar`` and so on hold each image and its annotation, as WebDataset has it, so
that whatever reads WebDataset reads them. ``<split>.index.json`` says where in which tar each
image is and holds all annotations: samples are shuffled over all tars, read by byte ranges
and resumed at any of them, wherever the tars are.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.data.annotations import AnnotationBuilder, DatasetSplit
from mnssd_training.data.remote import is_remote, read_url, Shard, ShardEntry
from mnssd_training.data.sample import Sample
from mnssd_training.errors import DatasetError
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

# Limits on what an index may announce: they are checked before anything is read by it.
MAX_INDEX = 512 << 20  # bytes; COCO's is 60 MB
MAX_IMAGE = 512 << 20  # bytes of an encoded image
MAX_SHARD = 1 << 50  # bytes of a tar

Box = tuple[float, float, float, float]
Side = Annotated[int, Field(ge=1, le=MAX_IMAGE_SIDE)]


class _Record(BaseModel):
    """A JSON object of an index."""

    model_config = ConfigDict(frozen=True, extra='forbid', strict=True, allow_inf_nan=False)


class AnnotationRecord(_Record):
    """
    What is known of an image.

    :ivar name: of the sample.
    :ivar size: (height, width), pixels.
    :ivar boxes: xyxy, pixels.
    :ivar labels: of the boxes, from 0.
    :ivar ignore: regions, xyxy, pixels.
    :ivar ignore_labels: the class that each hides; -1 for every class.
    """

    name: str = Field(min_length=1)
    size: tuple[Side, Side]
    boxes: list[Box]
    labels: list[NonNegativeInt]
    ignore: list[Box]
    ignore_labels: list[Annotated[int, Field(ge=-1)]]


class EntryRecord(AnnotationRecord):
    """
    An image and where it is.

    :ivar shard: number of the tar, from 0.
    :ivar member: its name in the tar.
    :ivar offset: of its first byte in the tar.
    :ivar length: bytes.
    :ivar crc32: of these bytes.
    """

    shard: NonNegativeInt
    member: str
    offset: Annotated[int, Field(ge=0, le=MAX_SHARD)]
    length: Annotated[int, Field(ge=1, le=MAX_IMAGE)]
    crc32: Annotated[int, Field(ge=0, lt=1 << 32)]


class ShardRecord(_Record):
    """
    A tar.

    :ivar name: of the file, beside the index.
    :ivar size: bytes.
    :ivar sha256: hex.
    """

    name: str
    size: Annotated[int, Field(ge=1, le=MAX_SHARD)]
    sha256: str = Field(pattern='^[0-9a-f]{64}$')


class IndexRecord(_Record):
    """
    The index of a split.

    :ivar format: of the index.
    :ivar class_names: in the order of their labels.
    :ivar shards: the tars.
    :ivar samples: the images.
    """

    format: Literal['mnssd-shards-1']
    class_names: Annotated[list[str], Field(min_length=1)]
    shards: list[ShardRecord]
    samples: Annotated[list[EntryRecord], Field(min_length=1)]


def index_name(split: str) -> str:
    """
    Name the index of a split.

    :param split: of the dataset.
    :return: a file name.
    """
    return f'{split}.index.json'


def shard_name(split: str, number: int) -> str:
    """
    Name a tar of a split.

    :param split: of the dataset.
    :param number: from 0.
    :return: a file name.
    """
    return f'{split}-{number:06d}.tar'


def read_shards(root: str, split: str, cache: str = '') -> DatasetSplit:
    """
    Read one split of a dataset in shards. Only the index is read.

    :param root: folder or address of the index and the tars.
    :param split: name of the split.
    :param cache: folder that keeps remote tars; empty to read images where they are.
    :return: what the split holds.
    :raises DatasetError: if the index cannot be read or is wrong.
    """
    root = root.rstrip('/')
    url = f'{root}/{index_name(split)}'
    index = _parse(url, read_url(url, limit=MAX_INDEX))
    names = set(index.class_names)
    if len(names) < len(index.class_names) or '' in names:
        raise DatasetError(
            url, f'class_names: expected names that differ, got {index.class_names}'
        )
    kept_in = cache if is_remote(root) else ''
    shards = []
    for record in index.shards:
        if record.name != PurePosixPath(record.name).name or record.name in ('', '..'):
            raise DatasetError(url, f'expected the name of a file beside it, got {record.name!r}')
        shards.append(Shard(f'{root}/{record.name}', record.size, record.sha256, kept_in))
    samples = [_sample(url, record, shards, len(names)) for record in index.samples]
    if len({sample.name for sample in samples}) < len(samples):
        raise DatasetError(url, 'two samples have the same name; make the shards anew')
    return DatasetSplit(tuple(index.class_names), samples)


def _parse(url: str, content: bytes) -> IndexRecord:
    """Read an index."""
    try:
        return IndexRecord.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = '.'.join(map(str, first['loc']))
        raise DatasetError(
            url, f'not an index of shards: {where + ": " if where else ""}{first["msg"]}'
        ) from error


def _sample(url: str, record: EntryRecord, shards: list[Shard], num_classes: int) -> Sample:
    """Check a record beyond its types, and make its sample."""

    def wrong(what: str) -> DatasetError:
        return DatasetError(url, f'sample {record.name!r}: {what}')

    if record.shard >= len(shards):
        raise wrong(f'there is no shard {record.shard}')
    shard = shards[record.shard]
    if record.offset + record.length > shard.size:
        raise wrong(f'ends beyond {shard.url}')
    height, width = record.size
    regions = AnnotationBuilder(width, height)
    for boxes, labels, ignore in (
        (record.boxes, record.labels, False),
        (record.ignore, record.ignore_labels, True),
    ):
        if len(boxes) != len(labels):
            raise wrong(f'has {len(boxes)} boxes and {len(labels)} labels')
        if any(label >= num_classes for label in labels):
            raise wrong(f'has a label that is not one of 0 to {num_classes - 1}')
        for box, label in zip(boxes, labels):
            clipped = regions.clip(box)
            if clipped is None:
                raise wrong(f'{box} is not a box inside {width} x {height}')
            regions.add(clipped, label, ignore)
    entry = ShardEntry(shard, record.member, record.offset, record.length, record.crc32)
    return Sample(record.name, entry, record.size, *regions.arrays())
