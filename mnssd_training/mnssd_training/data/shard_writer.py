"""Samples to shards: tars of images with their annotations, and an index of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import hashlib
import io
import json
from pathlib import Path
import re
import tarfile
import tempfile
import zlib

from mnssd_perception.files import sync_folder
from mnssd_training.data.sample import read_encoded, Sample
from mnssd_training.data.shards import (
    AnnotationRecord,
    Box,
    EntryRecord,
    index_name,
    IndexRecord,
    shard_name,
    ShardRecord,
)
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ShardLimit:
    """
    When a tar is full.

    :ivar images: images.
    :ivar size: bytes; the image that reaches it still goes in.
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

    The same samples give the same bytes. Files appear when all are written, the index last.

    :param samples: the images, copied as they are encoded.
    :param class_names: in the order of their labels.
    :param folder: where to; is made if need be.
    :param split: names the files.
    :param limit: when a tar is full.
    :return: the tars and the index.
    :raises DatasetError: if an image cannot be read, or if such shards are there already.
    """
    if not samples:
        raise DatasetError(folder / index_name(split), 'there is no image to write')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [folder / index_name(split), *sorted(folder.glob(f'{split}-*.tar'))]
        there = [path for path in there if path.exists()]
        if there:
            raise DatasetError(there[0], 'is there already; choose another folder or remove it')
        with tempfile.TemporaryDirectory(dir=folder, prefix='.shards-') as part:
            made = _write(samples, class_names, Path(part), split, limit)
            written = [path.rename(folder / path.name) for path in made]
            sync_folder(folder)
            return written
    except OSError as error:
        raise DatasetError(folder, f'cannot be written: {error.strerror}') from error


def _write(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    folder: Path,
    split: str,
    limit: ShardLimit,
) -> list[Path]:
    """Write tars and the index into a folder."""
    keys = iter(_keys(sample.name for sample in samples))
    shards: list[ShardRecord] = []
    entries: list[EntryRecord] = []
    paths: list[Path] = []
    waiting = list(reversed(samples))
    while waiting:
        path = folder / shard_name(split, len(shards))
        with (
            path.open('wb') as file,
            tarfile.open(fileobj=file, mode='w', format=tarfile.GNU_FORMAT) as tar,
        ):
            count = 0
            while waiting and count < limit.images and tar.offset < limit.size:
                sample = waiting.pop()
                entries.append(_add(tar, next(keys), sample, class_names, len(shards)))
                count += 1
        shards.append(ShardRecord(name=path.name, size=path.stat().st_size, sha256=_sha256(path)))
        paths.append(path)
    index = IndexRecord(
        format='mnssd-shards-1', class_names=list(class_names), shards=shards, samples=entries
    )
    path = folder / index_name(split)
    path.write_text(index.model_dump_json() + '\n', encoding='utf-8')
    return [*paths, path]


def _add(
    tar: tarfile.TarFile, key: str, sample: Sample, class_names: Sequence[str], shard: int
) -> EntryRecord:
    """Add an image and its annotation to a tar."""
    content = read_encoded(sample.path)
    if not content:
        raise DatasetError(sample.path, 'the image is empty')
    annotation = AnnotationRecord(
        name=sample.name,
        size=sample.size,
        boxes=_plain(sample.boxes),
        labels=sample.labels.tolist(),
        ignore=_plain(sample.ignore),
        ignore_labels=sample.ignore_labels.tolist(),
    )
    member = f'{key}{Path(sample.path.name).suffix.lower()}'
    _put(tar, member, content)
    offset = tar.offset - _padded(len(content))
    described = {**annotation.model_dump(), 'class_names': list(class_names)}
    _put(tar, f'{key}.json', json.dumps(described, ensure_ascii=False).encode())
    return EntryRecord(
        **annotation.model_dump(),
        shard=shard,
        member=member,
        offset=offset,
        length=len(content),
        crc32=zlib.crc32(content),
    )


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file that has no owner, no date and no surprise."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))


def _padded(size: int) -> int:
    """Round up to whole blocks of a tar."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _plain(boxes: NDArray[np.float32]) -> list[Box]:
    """Turn float32 to the shortest numbers that read back as the same float32."""
    return [tuple(float(str(edge)) for edge in box) for box in boxes]  # type: ignore[misc]


def _keys(names: Iterable[str]) -> list[str]:
    """
    Name members: WebDataset takes what is before the first dot for the sample.

    :param names: of the samples.
    :return: names without dots, slashes and the like, that differ.
    """
    keys: dict[str, None] = {}
    for name in names:
        key = re.sub(r'[^\w-]', '_', name)
        while key in keys:
            key += '_'
        keys[key] = None
    return list(keys)


def _sha256(path: Path) -> str:
    """Digest a tar."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
