"""Data sets of which an annotation file was damaged, removed or replaced."""

import json
from pathlib import Path
import shutil
from xml.etree import ElementTree

from mnssd_training.config import DataConfig
from mnssd_training.data import load_image, read_splits, Sample
import numpy as np

from mnssd_attack.datasets import DatasetFiles, write_files
from mnssd_attack.plain_data import change
from mnssd_attack.texts import spoil_text
from mnssd_attack.training_target import TrainingTarget
from mnssd_attack.words import naming

__all__ = ['attack_annotations']

JSON_TEXTS = (
    b'null', b'[]', b'{}', b'"text"', b'[' * 200_000, b'{"images":' * 200_000, b'1' * 200_000,
    b'{"images": NaN, "annotations": [], "categories": []}', b'{"images": [], "images": []}',
    b'{"images": [], "annotations": [], "categories": []}', b'"\\ud800"',
)  # fmt: skip
XML_TEXTS = (
    b'<a/>', b'<annotation/>', b'<a>' * 200_000, b'<a>' * 100_000 + b'</a>' * 100_000,
    b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "' + b'&b;' * 1000 + b'"><!ENTITY d "'
    + b'&c;' * 1000 + b'"><!ENTITY e "' + b'&d;' * 1000 + b'">]><a>' + b'&e;' * 1000 + b'</a>',
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b'<?xml version="1.0" encoding="utf-99"?><annotation/>',
    b'<?xml version="1.0" encoding="utf-16"?><annotation/>', b'<a b="1" b="2"/>', b'<a>\xff</a>',
)  # fmt: skip
PLAIN_TEXTS = (b'1\n' * 100_000, b' '.join([b'0'] * 100_000), b'\0' * 1000, b',' * 1000, b'-\n')
YAML_TEXTS = (
    b'names: {0: a, 1: a}', b'names: [a', b'names: {0: 5, 1: null}', b'names: [[a], {b: c}]',
    b'names: 7', b'a: &a [*a]', b'names: &n [*n, x]', b'names: {1: a, 2: b}', b'[' * 5000,
    b'names: !!python/object/apply:os.getcwd []', b'names: [2026-01-01, 1e400, .nan]',
)  # fmt: skip


def attack_annotations(name: str, target: TrainingTarget, generator: np.random.Generator) -> None:
    """
    Read a data set of which one annotation file is wrong, with all its photographs.

    :param name: the format, as the experiment calls it.
    :param target: what is attacked.
    :param generator: of the damage.
    """
    sound = target.datasets[name]
    shutil.rmtree(target.place, ignore_errors=True)
    write_files(target.place, sound.files)
    _damage(target.place, sound, generator)
    with naming(['data.', f'{target.place}/', *(Path(path).name for path in sound.files)]):
        splits = read_splits(_config(name, target.place, generator))
        for sample in (*splits.train, *splits.val):
            _check(sample, len(splits.class_names))
            load_image(sample)
        assert all(isinstance(note, str) and '\n' not in note for note in splits.notes)


def _config(name: str, place: Path, generator: np.random.Generator) -> DataConfig:
    """Choose one of the ways to read a data set."""
    ways: list[dict[str, object]] = [
        {},
        {},
        {'strict_labels': True},
        {'use_difficult': True},
        {'rename': {'car': ''}},
        {'classes': ('person', 'car')},
    ]
    way = ways[int(generator.integers(0, len(ways)))]
    return DataConfig(format=name, root=str(place), **way)  # type: ignore[arg-type]


def _damage(place: Path, sound: DatasetFiles, generator: np.random.Generator) -> None:
    """Damage, remove or replace one annotation file."""
    path = str(generator.choice(sound.annotations))
    victim = place / path
    way = generator.choice(
        [*['text'] * 6, *['structure'] * 5, 'whole', 'remove', 'folder', 'loop']
    )
    if way == 'text':
        victim.write_bytes(spoil_text(sound.files[path], generator))
    elif way == 'structure':
        victim.write_bytes(_restructure(sound.files[path], victim.suffix, generator))
    elif way == 'whole':
        texts = {'.json': JSON_TEXTS, '.xml': XML_TEXTS, '.yaml': YAML_TEXTS}
        found = texts.get(victim.suffix, PLAIN_TEXTS)
        victim.write_bytes(found[int(generator.integers(0, len(found)))])
    else:
        victim.unlink()
        if way == 'folder':
            victim.mkdir()
        elif way == 'loop':
            victim.symlink_to(victim)


def _restructure(content: bytes, suffix: str, generator: np.random.Generator) -> bytes:
    """Change one thing in what a file means, where it has a structure to change."""
    if suffix == '.json':
        plain = json.loads(content)
        change(plain, generator)
        return json.dumps(plain).encode()
    if suffix == '.xml':
        return _change_xml(content, generator)
    return spoil_text(content, generator)


def _change_xml(content: bytes, generator: np.random.Generator) -> bytes:
    """Remove, double, rename, empty or nest an element."""
    root = ElementTree.fromstring(content)
    pairs = [(parent, child) for parent in root.iter() for child in parent]
    parent, child = pairs[int(generator.integers(0, len(pairs)))]
    way = generator.choice(['remove', 'double', 'rename', 'empty', 'nest', 'swap'])
    if way == 'remove':
        parent.remove(child)
    elif way == 'double':
        parent.append(child)
    elif way == 'rename':
        child.tag += 's'
    elif way == 'empty':
        child.text = None
    elif way == 'nest':
        ElementTree.SubElement(child, child.tag).text = child.text
    else:
        other = pairs[int(generator.integers(0, len(pairs)))][1]
        child.text, other.text = other.text, child.text
    return ElementTree.tostring(root)


def _check(sample: Sample, num_classes: int) -> None:
    """Hold a sample against what it promises."""
    height, width = sample.size
    for boxes, labels, lowest in (
        (sample.boxes, sample.labels, 0),
        (sample.ignore, sample.ignore_labels, -1),
    ):
        assert boxes.dtype == np.float32 and labels.dtype == np.int64
        assert boxes.shape == (len(labels), 4)
        assert np.isfinite(boxes).all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (width, height)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert ((labels >= lowest) & (labels < num_classes)).all()
