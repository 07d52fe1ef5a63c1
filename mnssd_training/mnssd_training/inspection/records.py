"""Read all annotations of a dataset, with the class names of the model and all problems."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnssd_training.config.sections import DataConfig, SourceConfig
from mnssd_training.data.annotations import BoxRecord, IGNORE_NAMES, ImageRecord, ParsedSplit
from mnssd_training.data.classes import map_class
from mnssd_training.data.coco import find_annotation_file
from mnssd_training.data.formats import list_splits, parse_split
from mnssd_training.data.problems import Problem, unknown_class
from mnssd_training.data.text_files import list_image_files
from mnssd_training.data.voc import LISTS as VOC_LISTS
from mnssd_training.data.voc import read_names
from mnssd_training.data.yolo import LISTS as YOLO_LISTS
from mnssd_training.errors import DatasetError


@dataclass(frozen=True)
class DatasetRecords:
    """The annotations of a dataset, with its classes in the order of their labels."""

    class_names: tuple[str, ...]
    images: tuple[tuple[str, ImageRecord], ...]  # with their split, split after split
    problems: tuple[Problem, ...]


def read_records(
    source: SourceConfig, splits: Sequence[str], class_names: Sequence[str] = ()
) -> DatasetRecords:
    """
    Read all annotations of a dataset.

    :param class_names: of the model; empty for those that the dataset lists, or if it lists none,
        all that it uses.
    :raises DatasetError: if there is no such folder.
    """
    root = Path(source.root).expanduser()
    if source.format != 'shards' and not root.is_dir():
        raise DatasetError(root, 'no such folder; set data.root to that of the dataset')
    cache = source.cache_dir if isinstance(source, DataConfig) else ''
    parsed = {split: parse_split(source, split, class_names, cache) for split in splits}
    problems = [problem for split in parsed.values() for problem in split.problems]
    listed_names = _join_class_names(parsed.values(), problems)
    problems += _find_orphan_files(source, root, list(parsed.values()))
    mapped_names = [map_class(name, source.class_map) for name in listed_names]
    names = tuple(class_names) or tuple(dict.fromkeys(filter(None, mapped_names)))
    images = []
    for split, content in parsed.items():
        for record in content.records:
            boxes = tuple(_rename_box(box, source.class_map, names) for box in record.boxes)
            images.append((split, replace(record, boxes=boxes)))
            problems += [
                unknown_class(record.annotation, box.location, box.class_name, names)
                for box in boxes
                if names and box.class_name and box.class_name not in names and not box.is_ignored
            ]
    if not names:
        used = {box.class_name for _, image in images for box in image.boxes if not box.is_ignored}
        names = tuple(sorted(used - {''}))
    return DatasetRecords(names, tuple(images), tuple(dict.fromkeys(problems)))


def _join_class_names(splits: Iterable[ParsedSplit], problems: list[Problem]) -> list[str]:
    """Join the class lists of splits; report ids that stand for two classes."""
    ids: dict[int, str] = {}
    names: dict[str, None] = {}
    for parsed in splits:
        names |= dict.fromkeys(parsed.class_names)
        for number, name in parsed.class_ids.items():
            if ids.setdefault(number, name) != name:
                message = f'{name!r} has the id of {ids[number]!r} in another split'
                location = f'category {number}'
                problems.append(Problem('class list wrong', parsed.file, location, message))
    return [ids[number] for number in sorted(ids)] or list(names)


def _rename_box(box: BoxRecord, class_map: Mapping[str, str], names: Sequence[str]) -> BoxRecord:
    """Give a box the name of its class in the model; one without becomes an ignore region."""
    if not box.class_name:
        return box
    name = map_class(box.class_name, class_map, names)
    is_hidden = not name or (name not in names and name.lower() in IGNORE_NAMES)
    return box._replace(class_name=name, is_ignored=box.is_ignored or is_hidden)


def _find_orphan_files(
    source: SourceConfig, root: Path, splits: Sequence[ParsedSplit]
) -> Iterator[Problem]:
    """Find images and annotations without the other, and images that no list names."""
    records = [record for parsed in splits for record in parsed.records]
    if source.format == 'coco':
        files = {find_annotation_file(root, split) for split in list_splits(root, 'coco')}
        if files <= {parsed.file for parsed in splits}:
            used = {record.path for record in records}
            for path in [path for path in list_image_files(root) if path not in used]:
                yield Problem('image without annotation', path, '', 'no annotation file names it')
    if source.format not in ('voc', 'yolo'):
        return
    lists, images, annotations = {
        'voc': (VOC_LISTS, 'JPEGImages', sorted((root / 'Annotations').rglob('*.xml'))),
        'yolo': (YOLO_LISTS, 'images', sorted((root / 'labels').rglob('*.txt'))),
    }[source.format]
    listed = {Path(str(record.path)).stem for record in records}
    for path in (root / lists).glob('*.txt'):
        listed |= {Path(name.replace('\\', '/')).stem for name in read_names(path, [])}
    annotated = {path.stem for path in annotations}
    image_files = list_image_files(root / images)
    for path in [path for path in image_files if path.stem not in listed]:
        if path.stem in annotated:
            yield Problem('in no split', path, '', 'no list names it')
        else:
            yield Problem('image without annotation', path, '', 'there is no annotation')
    stems = {path.stem for path in image_files}
    for path in annotations:
        if path.stem not in stems:
            yield Problem('annotation without image', path, '', 'there is no image for it')
