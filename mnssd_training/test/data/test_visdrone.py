"""VisDrone text annotations on real images."""

from pathlib import Path
import shutil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.formats import read_split
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.data.visdrone import VISDRONE_CLASSES
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

NAMES = ('0_60_50_0_06519', '1_60_50_0_00299')


@pytest.fixture
def root(tmp_path: Path, hit_uav: Path) -> Path:
    """A validation split of two images without objects."""
    folder = tmp_path / 'VisDrone2019-DET-val'
    for part in ('images', 'annotations'):
        (folder / part).mkdir(parents=True)
    for name in NAMES:
        shutil.copy(hit_uav / 'JPEGImages' / f'{name}.jpg', folder / 'images')
        (folder / 'annotations' / f'{name}.txt').write_text('')
    return tmp_path


def annotation_of(root: Path) -> Path:
    return root / 'VisDrone2019-DET-val' / 'annotations' / f'{NAMES[0]}.txt'


def source_of(root: Path, **keys: Any) -> SourceConfig:
    return SourceConfig(format='visdrone', root=str(root), **keys)


def read(root: Path, text: str = '', strict: bool = False) -> DatasetSplit:
    annotation_of(root).write_text(text)
    return read_split(source_of(root, strict_labels=strict), 'val')


def test_no_objects(root: Path) -> None:
    dataset_split = read(root)
    assert dataset_split.class_names == VISDRONE_CLASSES
    assert [sample.name for sample in dataset_split.samples] == list(NAMES)
    assert all(
        sample.boxes.shape == sample.ignore.shape == (0, 4) for sample in dataset_split.samples
    )
    assert all(sample.size == (512, 640) for sample in dataset_split.samples)


def test_ignored_categories_and_score_zero_become_ignore_regions(root: Path) -> None:
    sample = read(
        root,
        '10,20,30,40,1,4,0,0\n'  # a car
        '1,2,3,4,1,1,0,2,\n'  # a pedestrian; some files end lines with a comma
        '100,100,50,60,0,0,0,0\n'  # an ignored region
        '200,100,50,60,1,11,0,0\n'  # others
        '300,100,50,60,0,10,0,0\n\n',  # a motor that is not counted
    ).samples[0]
    assert sample.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert [VISDRONE_CLASSES[label] for label in sample.labels] == ['car', 'pedestrian']
    assert sample.ignore[:, 0].tolist() == [100, 200, 300]
    assert sample.ignore_labels.tolist() == [ANY_CLASS, ANY_CLASS, 9]


@pytest.mark.parametrize('split', ['val', 'VisDrone2019-DET-val', '{root}/VisDrone2019-DET-val'])
def test_split_is_found_by_name_or_path(root: Path, split: str) -> None:
    source = source_of(root)
    assert len(read_split(source, split.format(root=root)).samples) == 2
    (root / 'VisDrone2019-DET-val').rename(root / 'val')
    assert len(read_split(source, 'val').samples) == 2


def test_boxes_are_clipped_and_degenerate_ones_skipped(root: Path) -> None:
    text = '630,500,100,100,1,4,0,0\n5,5,0,9,1,4,0,0\n'
    dataset_split = read(root, text)
    assert dataset_split.samples[0].boxes.tolist() == [[630, 500, 640, 512]]
    assert dataset_split.notes == (
        f'skipped 1 x box degenerate: VisDrone2019-DET-val/annotations/{NAMES[0]}.txt: line 2: '
        f'expected a box with an area in the image, got car (5, 5, 5, 14)',
    )
    with pytest.raises(DatasetError, match='line 2: expected a box with an area'):
        read(root, text, strict=True)


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('1,2,3,4,1,4,0', 'line 2: expected 8 numbers with commas between'),
        ('1 2 3 4 1 4 0 0', 'line 2: expected 8 numbers'),
        ('1,2,3,4,1,4,0,0,0', 'line 2: expected 8 numbers'),
        ('1,2,x,4,1,4,0,0', 'line 2: expected 8 numbers'),
        ('1,2,nan,4,1,4,0,0', 'line 2: expected 8 numbers'),
        ('1,2,inf,4,1,4,0,0', 'line 2: expected 8 numbers'),
        ('1,2,-3,4,1,4,0,0', 'line 2: expected x1 <= x2 .*(1, 2, -2, 6)'),
        ('1,2,3,4,1,12,0,0', 'line 2: expected a category of 0 to 11, got 12'),
        ('1,2,3,4,1,1.5,0,0', 'line 2: expected a category of 0 to 11, got 1.5'),
        ('\0', 'line 2: expected 8 numbers'),
    ],
)
def test_invalid_line_is_refused_with_file_and_line(root: Path, line: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        read(root, f'1,2,3,4,1,4,0,0\r\n{line}\r\n')
    assert caught.value.path == annotation_of(root)


def test_missing_files_are_refused_with_their_names(root: Path) -> None:
    annotation_of(root).unlink()
    source = source_of(root)
    with pytest.raises(DatasetError, match=r'06519\.txt: no such file; annotate the image'):
        read_split(source, 'val')
    (root / 'VisDrone2019-DET-val' / 'images' / f'{NAMES[0]}.jpg').unlink()
    annotation_of(root).with_stem('other').write_text('')
    with pytest.raises(DatasetError, match=r'other\.jpg: no image for the annotation other\.txt'):
        read_split(source, 'val')
    with pytest.raises(DatasetError, match='no folder with images and annotations .*-test'):
        read_split(source, 'test')


@settings(max_examples=100, deadline=None)
@given(text=st.text('0123456789.-,einfx \n', max_size=60))
def test_any_annotation_is_parsed_or_refused(
    text: str, tmp_path_factory: pytest.TempPathFactory, hit_uav: Path
) -> None:
    folder = tmp_path_factory.getbasetemp() / 'visdrone_fuzz'
    for part in ('images', 'annotations'):
        (folder / 'val' / part).mkdir(parents=True, exist_ok=True)
    shutil.copy(hit_uav / 'JPEGImages' / f'{NAMES[0]}.jpg', folder / 'val' / 'images')
    path = folder / 'val' / 'annotations' / f'{NAMES[0]}.txt'
    path.write_text(text)
    try:
        (sample,) = read_split(source_of(folder), 'val').samples
    except DatasetError as error:
        assert error.path == path
        return
    for boxes in (sample.boxes, sample.ignore):
        assert np.isfinite(boxes).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
