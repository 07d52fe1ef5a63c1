"""Labelled frames to a dataset that the readers of mnssd read."""

from collections.abc import Sequence
import csv
from dataclasses import dataclass
from io import StringIO
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mnssd_perception.ssd import Detections

FRAME_COLUMNS = ('image', 'split', 'bag', 'topic', 'stamp_ns', 'labels')
LABEL_COLUMNS = ('image', 'class', 'score', 'xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class LabelledFrame:
    """
    One image of the new dataset; the image itself is written when it is taken.

    :ivar name: of its file, without suffix.
    :ivar suffix: of its file, such as ``.jpg``.
    :ivar split: ``train`` or ``val``.
    :ivar size: (height, width), pixels.
    :ivar found: first labels, pixels of the image.
    :ivar bag: the recording that it is from.
    :ivar topic: of that recording.
    :ivar stamp_ns: when the camera saw it.
    """

    name: str
    suffix: str
    split: str
    size: tuple[int, int]
    found: Detections
    bag: str
    topic: str
    stamp_ns: int


def image_folder(root: Path, form: str) -> Path:
    """Name the folder of images of a dataset."""
    return root / {'voc': 'JPEGImages', 'coco': 'images', 'yolo': 'images'}[form]


def write_dataset(
    root: Path,
    form: str,
    frames: Sequence[LabelledFrame],
    class_names: Sequence[str],
    provenance: dict[str, Any],
) -> None:
    """
    Write everything but the images.

    :param root: folder of the dataset.
    :param form: ``voc``, ``coco`` or ``yolo``.
    :param frames: the images.
    :param class_names: in the order of their labels.
    :param provenance: how the dataset was made; goes into ``provenance.json``, beside
        ``frames.csv`` (where each image is from) and ``labels.csv`` (scores of the labels).
    """
    writers = {'voc': _write_voc, 'coco': _write_coco, 'yolo': _write_yolo}
    writers[form](root, frames, class_names)
    _write(root / 'classes.txt', ''.join(f'{name}\n' for name in class_names))
    _write(root / 'provenance.json', json.dumps(provenance, indent=1) + '\n')
    rows = [
        (frame.name + frame.suffix, frame.split, frame.bag, frame.topic, frame.stamp_ns,
         len(frame.found))
        for frame in frames
    ]  # fmt: skip
    _write(root / 'frames.csv', _csv(FRAME_COLUMNS, rows))
    labels = [
        (frame.name + frame.suffix, class_names[label], f'{score:.4f}', *_edges(box))
        for frame in frames
        for box, score, label in zip(frame.found.boxes, frame.found.scores, frame.found.labels)
    ]
    _write(root / 'labels.csv', _csv(LABEL_COLUMNS, labels))


def _by_split(frames: Sequence[LabelledFrame]) -> dict[str, list[LabelledFrame]]:
    """Sort frames into splits; one that would be empty is not there."""
    splits: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        splits.setdefault(frame.split, []).append(frame)
    return splits


def _write_voc(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    """Write PASCAL VOC annotations and lists."""
    for frame in frames:
        tree = ElementTree.Element('annotation')
        ElementTree.SubElement(tree, 'filename').text = frame.name + frame.suffix
        size = ElementTree.SubElement(tree, 'size')
        for key, value in (('width', frame.size[1]), ('height', frame.size[0]), ('depth', 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for box, label in zip(frame.found.boxes, frame.found.labels):
            element = ElementTree.SubElement(tree, 'object')
            ElementTree.SubElement(element, 'name').text = class_names[label]
            ElementTree.SubElement(element, 'difficult').text = '0'
            place = ElementTree.SubElement(element, 'bndbox')
            for key, edge in zip(('xmin', 'ymin', 'xmax', 'ymax'), _edges(box)):
                ElementTree.SubElement(place, key).text = str(edge)
        ElementTree.indent(tree)
        text = ElementTree.tostring(tree, encoding='unicode')
        _write(root / 'Annotations' / f'{frame.name}.xml', text + '\n')
    for split, own in _by_split(frames).items():
        text = ''.join(f'{frame.name}\n' for frame in own)
        _write(root / 'ImageSets' / 'Main' / f'{split}.txt', text)


def _write_yolo(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    """Write YOLO labels and lists."""
    for frame in frames:
        height, width = frame.size
        lines = []
        for box, label in zip(frame.found.boxes, frame.found.labels):
            x1, y1, x2, y2 = _edges(box)
            numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height,
                       (x2 - x1) / width, (y2 - y1) / height)  # fmt: skip
            lines.append(f'{label} ' + ' '.join(f'{number:.6f}' for number in numbers) + '\n')
        _write(root / 'labels' / f'{frame.name}.txt', ''.join(lines))
    for split, own in _by_split(frames).items():
        text = ''.join(f'images/{frame.name}{frame.suffix}\n' for frame in own)
        _write(root / 'splits' / f'{split}.txt', text)


def _write_coco(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    """Write COCO annotations, an id of an image being its place in ``frames.csv``, from 1."""
    numbers = {frame.name: number for number, frame in enumerate(frames, 1)}
    next_id = 1
    for split, own in _by_split(frames).items():
        images, annotations = [], []
        for frame in own:
            height, width = frame.size
            number = numbers[frame.name]
            name = frame.name + frame.suffix
            images.append({'id': number, 'file_name': name, 'width': width, 'height': height})
            for box, score, label in zip(*_arrays(frame.found)):
                x1, y1, x2, y2 = _edges(box)
                sides = (round(x2 - x1, 2), round(y2 - y1, 2))
                annotations.append(
                    {
                        'id': next_id,
                        'image_id': number,
                        'category_id': int(label) + 1,
                        'bbox': [x1, y1, *sides],
                        'area': round(sides[0] * sides[1], 2),
                        'iscrowd': 0,
                        'score': round(float(score), 4),
                    }
                )
                next_id += 1
        categories = [{'id': key, 'name': name} for key, name in enumerate(class_names, 1)]
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        _write(root / 'annotations' / f'instances_{split}.json', json.dumps(content, indent=1))


def _arrays(found: Detections) -> tuple[Any, Any, Any]:
    """Give boxes, scores and labels."""
    return found.boxes, found.scores, found.labels


def _edges(box: Any) -> tuple[float, float, float, float]:
    """Round the edges of a box to hundredths of a pixel."""
    x1, y1, x2, y2 = (round(float(edge), 2) for edge in box)
    return x1, y1, x2, y2


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out as CSV."""
    text = StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    """Write a text; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
