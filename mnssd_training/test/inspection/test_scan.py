"""Annotations of any content: scanned to the end, and what is read can be measured."""

import json
from pathlib import Path
import shutil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import SourceConfig
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.check_boxes import check_boxes, check_pairs, check_unusual
from mnssd_training.inspection.findings import KINDS
from mnssd_training.inspection.placed import place
from mnssd_training.inspection.scan import Format, guess_format, scan, splits_of
import numpy as np
import pytest

FILES: dict[Format, str] = {
    'voc': 'Annotations/0_60_50_0_06519.xml',
    'yolo': 'labels/0_60_50_0_06519.txt',
    'coco': 'annotations/instances_train.json',
    'visdrone': 'VisDrone2019-DET-train/annotations/0_60_50_0_06519.txt',
}
# What a JSON value may be replaced by.
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 10**400, 1.5, float('nan'), float('inf'), '', 'x', '7', [], {}, [1, 2]]
)


def judge(root: Path, form: Format) -> None:
    """Scan and check all but the images."""
    found = scan(SourceConfig(format=form, root=str(root)), ['train', 'val'])
    assert all(finding.kind in KINDS for finding in found.findings)
    entries = [entry for entry in found.entries if entry.size]
    placed = place(entries, {}, found.class_names)
    for item in placed:
        assert np.isfinite(item.edges).all()
        list(check_boxes(item))
        list(check_pairs(item, found.class_names))
    list(check_unusual(placed, found.class_names))


@pytest.fixture(scope='module')
def roots(small_sets: dict[Format, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies that a test spoils and repairs."""
    folder = tmp_path_factory.mktemp('fuzz')
    for form, root in small_sets.items():
        shutil.copytree(root, folder / form)
    return folder


@pytest.mark.parametrize('form', FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_bytes(roots: Path, form: Format, data: st.DataObject) -> None:
    path = roots / form / FILES[form]
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    try:
        path.write_bytes(content)
        judge(roots / form, form)
    finally:
        path.write_bytes(whole)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_mutated_json(roots: Path, data: st.DataObject) -> None:
    path = roots / 'coco' / FILES['coco']
    whole = path.read_text()
    content = json.loads(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(['images', 'annotations', 'categories']))
        records = content[name]
        if not isinstance(records, list) or not records or data.draw(st.integers(0, 20)) == 0:
            content[name] = data.draw(VALUES)
            continue
        index = data.draw(st.integers(0, len(records) - 1))
        if not isinstance(records[index], dict) or data.draw(st.integers(0, 9)) == 0:
            records[index] = data.draw(VALUES)
            continue
        key = data.draw(st.sampled_from(sorted(records[index])))
        if key == 'bbox' and isinstance(records[index][key], list) and records[index][key]:
            records[index][key][0] = data.draw(VALUES)
        else:
            records[index][key] = data.draw(VALUES)
    try:
        path.write_text(json.dumps(content))
        judge(roots / 'coco', 'coco')
    finally:
        path.write_text(whole)


def test_formats_are_told_apart(small_sets: dict[Format, Path], tmp_path: Path) -> None:
    for form, root in small_sets.items():
        assert guess_format(root) == form
        assert splits_of(root, form) == ['train', 'val']
    with pytest.raises(DatasetError, match='cannot tell its format'):
        guess_format(tmp_path)
    with pytest.raises(DatasetError, match='no such folder'):
        guess_format(tmp_path / 'nowhere')


@pytest.mark.parametrize('form', FILES)
def test_a_split_that_is_not_there(small_sets: dict[Format, Path], form: Format) -> None:
    found = scan(SourceConfig(format=form, root=str(small_sets[form])), ['nowhere'])
    assert found.entries == ()
    assert 'list unreadable' in {finding.kind for finding in found.findings}
