"""Write labelled frames as a VOC, COCO or YOLO dataset."""

from collections.abc import Sequence
import csv
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from mnssd_perception.ssd import Detections

WrittenFormat = Literal['voc', 'coco', 'yolo']
EDGES = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class LabelledFrame:
    """
    One image of the new dataset; the image file itself is written before.

    :ivar name: of its file, without suffix.
    :ivar split: ``train`` or ``val``.
    :ivar size: (height, width), pixels.
    :ivar detections: first labels, pixels of the image.
    """

    name: str
    suffix: str
    split: str
    size: tuple[int, int]
    detections: Detections
    bag: str
    topic: str
    stamp_ns: int

    @property
    def file_name(self) -> str:
        """Name and suffix."""
        return self.name + self.suffix


def image_folder(root: Path, dataset_format: WrittenFormat) -> Path:
    """Return the folder of the images of a dataset."""
    return root / ('JPEGImages' if dataset_format == 'voc' else 'images')


def write_dataset(
    root: Path,
    dataset_format: WrittenFormat,
    frames: Sequence[LabelledFrame],
    class_names: Sequence[str],
    provenance: dict[str, Any],
) -> None:
    """
    Write everything but the images.

    :param class_names: in the order of their labels.
    :param provenance: how the dataset was made; goes into ``provenance.json``, beside
        ``frames.csv`` (the source of each image) and ``labels.csv`` (scores of the labels).
    """
    writers = {'voc': _write_voc, 'coco': _write_coco, 'yolo': _write_yolo}
    writers[dataset_format](root, frames, class_names)
    _write(root / 'classes.txt', ''.join(f'{name}\n' for name in class_names))
    _write(root / 'provenance.json', json.dumps(provenance, indent=1) + '\n')
    with (
        (root / 'frames.csv').open('w', newline='') as frame_file,
        (root / 'labels.csv').open('w', newline='') as label_file,
    ):
        frame_rows = csv.writer(frame_file, lineterminator='\n')
        frame_rows.writerow(('image', 'split', 'bag', 'topic', 'stamp_ns', 'labels'))
        label_rows = csv.writer(label_file, lineterminator='\n')
        label_rows.writerow(('image', 'class', 'score', *EDGES))
        for frame in frames:
            name, num_labels = frame.file_name, len(frame.detections)
            frame_rows.writerow(
                (name, frame.split, frame.bag, frame.topic, frame.stamp_ns, num_labels)
            )
            for edges, score, label in _labels(frame):
                label_rows.writerow((name, class_names[label], f'{score:.4f}', *edges))


def _by_split(frames: Sequence[LabelledFrame]) -> dict[str, list[LabelledFrame]]:
    splits = dict.fromkeys(frame.split for frame in frames)
    return {split: [frame for frame in frames if frame.split == split] for split in splits}


def _labels(frame: LabelledFrame) -> list[tuple[tuple[float, ...], float, int]]:
    """List edges (xyxy, to hundredths of a pixel), score and label of each detection."""
    columns = (frame.detections.boxes, frame.detections.scores, frame.detections.labels)
    return [
        (tuple(round(edge, 2) for edge in box), score, label)
        for box, score, label in zip(*(column.tolist() for column in columns))
    ]


def _write_voc(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    def element(tag: str, *content: object) -> ElementTree.Element:
        result = ElementTree.Element(tag)
        for item in content:
            if isinstance(item, ElementTree.Element):
                result.append(item)
            else:
                result.text = str(item)
        return result

    for split, in_split in _by_split(frames).items():
        for frame in in_split:
            size = map(element, ('width', 'height', 'depth'), (*frame.size[::-1], 3))
            tree = element('annotation', element('filename', frame.file_name))
            tree.append(element('size', *size))
            for edges, _, label in _labels(frame):
                name, box = element('name', class_names[label]), map(element, EDGES, edges)
                tree.append(
                    element('object', name, element('difficult', 0), element('bndbox', *box))
                )
            ElementTree.indent(tree)
            text = ElementTree.tostring(tree, encoding='unicode')
            _write(root / 'Annotations' / f'{frame.name}.xml', text + '\n')
        names = ''.join(f'{frame.name}\n' for frame in in_split)
        _write(root / 'ImageSets' / 'Main' / f'{split}.txt', names)


def _write_yolo(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    for split, in_split in _by_split(frames).items():
        for frame in in_split:
            height, width = frame.size
            lines = []
            for (x1, y1, x2, y2), _, label in _labels(frame):
                numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height,
                           (x2 - x1) / width, (y2 - y1) / height)  # fmt: skip
                lines.append(f'{label} ' + ' '.join(f'{number:.6f}' for number in numbers) + '\n')
            _write(root / 'labels' / f'{frame.name}.txt', ''.join(lines))
        paths = ''.join(f'images/{frame.file_name}\n' for frame in in_split)
        _write(root / 'splits' / f'{split}.txt', paths)


def _write_coco(root: Path, frames: Sequence[LabelledFrame], class_names: Sequence[str]) -> None:
    image_ids = {frame.name: row for row, frame in enumerate(frames, 1)}  # as in frames.csv
    annotation_id = 0
    categories = [{'id': key, 'name': name} for key, name in enumerate(class_names, 1)]
    for split, in_split in _by_split(frames).items():
        images, annotations = [], []
        for frame in in_split:
            height, width = frame.size
            number, name = image_ids[frame.name], frame.file_name
            images.append({'id': number, 'file_name': name, 'width': width, 'height': height})
            for (x1, y1, x2, y2), score, label in _labels(frame):
                annotation_id += 1
                sides = (round(x2 - x1, 2), round(y2 - y1, 2))
                annotations.append(
                    {
                        'id': annotation_id,
                        'image_id': number,
                        'category_id': label + 1,
                        'bbox': [x1, y1, *sides],
                        'area': round(sides[0] * sides[1], 2),
                        'iscrowd': 0,
                        'score': round(score, 4),
                    }
                )
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        _write(root / 'annotations' / f'instances_{split}.json', json.dumps(content, indent=1))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
