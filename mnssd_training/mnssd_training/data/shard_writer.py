"""Writer of WebDataset shards with an index."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import io
import json
from pathlib import Path
import re
import tarfile
import tempfile
import zlib

from mnssd_perception.files import sync_folder
from mnssd_training.data.remote import sha256_file
from mnssd_training.data.sample import read_encoded, Sample
from mnssd_training.data.shards import (
    AnnotationRecord,
    Box,
    EntryRecord,
    index_name,
    IndexRecord,
    ShardRecord,
)
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ShardLimit:
    """
    Size at which a tar is full.

    :ivar size: bytes; the image that reaches it is the last.
    """

    images: int = 10_000
    size: int = 512 << 20


def write_shards(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    folder: Path,
    split: str,
    limit: ShardLimit,
) -> list[Path]:
    """
    Write one split as shards.

    Images are copied as they are encoded, and the same samples give the same bytes. Files appear
    when all are written, the index last.

    :param class_names: in the order of their labels.
    :param split: begins the file names.
    :return: the tars and the index.
    :raises DatasetError: if an image cannot be read, or the folder has shards of this split.
    """
    index = folder / index_name(split)
    if not samples:
        raise DatasetError(index, 'there is no image to write')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (index, *sorted(folder.glob(f'{split}-*.tar'))):
            if path.exists():
                raise DatasetError(path, 'exists already; choose another folder or remove it')
        with tempfile.TemporaryDirectory(dir=folder, prefix='.shards-') as part:
            written = _write(samples, class_names, Path(part), split, limit)
            paths = [path.rename(folder / path.name) for path in written]
            sync_folder(folder)
            return paths
    except OSError as error:
        raise DatasetError(folder, f'cannot be written: {error.strerror}') from error


def _write(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    folder: Path,
    split: str,
    limit: ShardLimit,
) -> list[Path]:
    shards: list[ShardRecord] = []
    entries: list[EntryRecord] = []
    queue = list(zip(samples, _choose_keys(sample.name for sample in samples)))[::-1]
    while queue:
        path = folder / f'{split}-{len(shards):06d}.tar'
        num_before = len(entries)
        with tarfile.open(path, mode='w', format=tarfile.GNU_FORMAT) as tar:
            while queue and len(entries) - num_before < limit.images and tar.offset < limit.size:
                sample, key = queue.pop()
                entries.append(_add_sample(tar, key, sample, class_names, len(shards)))
        digest = sha256_file(path)
        shards.append(ShardRecord(name=path.name, size=path.stat().st_size, sha256=digest))
    index = IndexRecord(
        format='mnssd-shards-1', class_names=list(class_names), shards=shards, samples=entries
    )
    index_path = folder / index_name(split)
    index_path.write_text(index.model_dump_json() + '\n', encoding='utf-8')
    return [*(folder / shard.name for shard in shards), index_path]


def _add_sample(
    tar: tarfile.TarFile, key: str, sample: Sample, class_names: Sequence[str], shard: int
) -> EntryRecord:
    content = read_encoded(sample.path)
    if not content:
        raise DatasetError(sample.path, 'the image is empty')
    annotation = AnnotationRecord(
        name=sample.name,
        size=sample.size,
        boxes=_to_list(sample.boxes),
        labels=sample.labels.tolist(),
        ignore=_to_list(sample.ignore),
        ignore_labels=sample.ignore_labels.tolist(),
    ).model_dump()
    member = f'{key}{Path(sample.path.name).suffix.lower()}'
    _add_file(tar, member, content)
    num_blocks = -(-len(content) // tarfile.BLOCKSIZE)
    offset = tar.offset - num_blocks * tarfile.BLOCKSIZE
    text = json.dumps({**annotation, 'class_names': list(class_names)}, ensure_ascii=False)
    _add_file(tar, f'{key}.json', text.encode())
    return EntryRecord(
        **annotation,
        shard=shard,
        member=member,
        offset=offset,
        length=len(content),
        crc32=zlib.crc32(content),
    )


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # without owner and date
    info.size = len(content)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))


def _to_list(boxes: NDArray[np.float32]) -> list[Box]:
    """Convert float32 to the shortest numbers that read back as the same float32."""
    return [tuple(float(str(edge)) for edge in box) for box in boxes]  # type: ignore[misc]


def _choose_keys(names: Iterable[str]) -> list[str]:
    """Make unique names without dots, which end the name of a sample in WebDataset."""
    keys: dict[str, None] = {}
    for name in names:
        key = re.sub(r'[^\w-]', '_', name)
        while key in keys:
            key += '_'
        keys[key] = None
    return list(keys)
