"""
Datasets in WebDataset shards, with an index for random access.

``<split>-000000.tar`` and so on hold each image and its annotation as WebDataset does.
``<split>.index.json`` has all annotations and the position of each image, so samples are shuffled
over all tars, read by byte ranges and resumed anywhere, also from a remote storage.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.data.annotations import AnnotationBuilder, DatasetSplit
from mnssd_training.data.remote import is_remote, read_url, Shard, ShardEntry
from mnssd_training.data.sample import Sample
from mnssd_training.errors import DatasetError
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

# Limits on what an index may announce, checked before anything is read by it.
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
    The annotation of an image, with the fields of :class:`~mnssd_training.data.sample.Sample`.

    :ivar ignore_labels: -1 stands for every class.
    """

    name: str = Field(min_length=1)
    size: tuple[Side, Side]
    boxes: list[Box]
    labels: list[NonNegativeInt]
    ignore: list[Box]
    ignore_labels: list[Annotated[int, Field(ge=-1)]]


class EntryRecord(AnnotationRecord):
    """An image and its position in the tar with index ``shard``, bytes."""

    shard: NonNegativeInt
    member: str
    offset: Annotated[int, Field(ge=0, le=MAX_SHARD)]
    length: Annotated[int, Field(ge=1, le=MAX_IMAGE)]
    crc32: Annotated[int, Field(ge=0, lt=1 << 32)]


class ShardRecord(_Record):
    """A tar: its file name beside the index, its size in bytes and its SHA-256 in hex."""

    name: str
    size: Annotated[int, Field(ge=1, le=MAX_SHARD)]
    sha256: str = Field(pattern='^[0-9a-f]{64}$')


class IndexRecord(_Record):
    """The index of a split; labels are indices into ``class_names``."""

    format: Literal['mnssd-shards-1']
    class_names: Annotated[list[str], Field(min_length=1)]
    shards: list[ShardRecord]
    samples: Annotated[list[EntryRecord], Field(min_length=1)]


def index_name(split: str) -> str:
    """Return the file name of the index of a split."""
    return f'{split}.index.json'


def read_shards(root: str, split: str, cache: str = '') -> DatasetSplit:
    """
    Read the index of one split of a dataset in shards.

    :param root: folder or address of the index and the tars.
    :param cache: folder that keeps remote tars; empty to read images by range requests.
    """
    root = root.rstrip('/')
    url = f'{root}/{index_name(split)}'
    try:
        index = IndexRecord.model_validate_json(read_url(url, limit=MAX_INDEX))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = ': '.join(filter(None, ('.'.join(map(str, first['loc'])), first['msg'])))
        raise DatasetError(url, f'not an index of shards: {reason}') from error
    names = set(index.class_names)
    if len(names) < len(index.class_names) or '' in names:
        reason = f'class_names: expected names that differ, got {index.class_names}'
        raise DatasetError(url, reason)
    shards = []
    for record in index.shards:
        if record.name != PurePosixPath(record.name).name or record.name in ('', '..'):
            reason = f'expected the name of a file beside the index, got {record.name!r}'
            raise DatasetError(url, reason)
        cache_dir = cache if is_remote(root) else ''
        shards.append(Shard(f'{root}/{record.name}', record.size, record.sha256, cache_dir))
    samples = [_to_sample(url, record, shards, len(names)) for record in index.samples]
    if len({sample.name for sample in samples}) < len(samples):
        raise DatasetError(url, 'two samples have the same name; write the shards again')
    return DatasetSplit(tuple(index.class_names), samples)


def _to_sample(url: str, record: EntryRecord, shards: list[Shard], num_classes: int) -> Sample:
    def error(reason: str) -> DatasetError:
        return DatasetError(url, f'sample {record.name!r}: {reason}')

    if record.shard >= len(shards):
        raise error(f'there is no shard {record.shard}')
    shard = shards[record.shard]
    if record.offset + record.length > shard.size:
        raise error(f'ends beyond {shard.url}')
    height, width = record.size
    annotation = AnnotationBuilder(width, height)
    objects = (record.boxes, record.labels, False)
    for boxes, labels, is_ignored in (objects, (record.ignore, record.ignore_labels, True)):
        if len(boxes) != len(labels):
            raise error(f'has {len(boxes)} boxes and {len(labels)} labels')
        if any(label >= num_classes for label in labels):
            raise error(f'has a label that is not one of 0 to {num_classes - 1}')
        for box, label in zip(boxes, labels):
            clipped = annotation.clip(box)
            if clipped is None:
                raise error(f'{box} is not a box inside {width} x {height}')
            annotation.add(clipped, label, is_ignored)
    entry = ShardEntry(shard, record.member, record.offset, record.length, record.crc32)
    return Sample(record.name, entry, record.size, *annotation.arrays())
