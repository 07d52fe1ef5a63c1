"""YOLO text labels, with lists and labels of every kind."""

from pathlib import Path
import shutil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.formats import read_split
from mnssd_training.data.sample import load_image
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

NAMES = ('0_60_50_0_06519', '0_60_70_0_06611', '1_60_50_0_00299')
GOOD = '1 0.5 0.5 0.25 0.5\n'
BOX = [240, 128, 400, 384]  # of GOOD, in 640 x 512


@pytest.fixture
def root(tmp_path: Path, hit_uav: Path) -> Path:
    """A dataset of three images; the second has an empty label, the third none."""
    for folder in ('images', 'labels', 'splits'):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        shutil.copy(hit_uav / 'JPEGImages' / f'{name}.jpg', tmp_path / 'images')
    (tmp_path / 'classes.txt').write_text('person\ncar\n')
    (tmp_path / 'labels' / f'{NAMES[0]}.txt').write_text(GOOD)
    (tmp_path / 'labels' / f'{NAMES[1]}.txt').write_text('')
    for split in ('train', 'val'):
        lines = ''.join(f'images/{name}.jpg\n' for name in NAMES)
        (tmp_path / 'splits' / f'{split}.txt').write_text(lines)
    return tmp_path


def read(root: Path, split: str = 'val', training: bool = False, **keys: Any) -> DatasetSplit:
    return read_split(SourceConfig(format='yolo', root=str(root), **keys), split, training)


def label(root: Path, text: str | bytes) -> None:
    path = root / 'labels' / f'{NAMES[0]}.txt'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_validation_keeps_images_without_labels(root: Path) -> None:
    dataset_split = read(root)
    assert dataset_split.class_names == ('person', 'car')
    assert [sample.name for sample in dataset_split.samples] == list(NAMES)
    assert [len(sample.boxes) for sample in dataset_split.samples] == [1, 0, 0]
    assert dataset_split.samples[1].boxes.shape == (0, 4)
    assert dataset_split.samples[0].boxes.tolist() == [BOX]
    assert dataset_split.samples[0].labels.tolist() == [
        1
    ]  # as in the file: background is not counted
    assert dataset_split.samples[0].size == load_image(dataset_split.samples[0]).shape[:2]
    assert dataset_split.notes == ()


def test_training_keeps_images_without_labels_as_background(root: Path) -> None:
    dataset_split = read(root, 'train', training=True)
    assert [len(sample.boxes) for sample in dataset_split.samples] == [1, 0, 0]
    (note,) = dataset_split.notes
    path = root / 'labels' / f'{NAMES[2]}.txt'
    assert note.startswith(f'1 of 3 images have no label file, such as {path}: no such file, nor')


def test_training_drops_images_without_a_valid_label(root: Path) -> None:
    (root / 'labels' / f'{NAMES[1]}.txt').write_text('0 0.5 0.5\n7 0.5 0.5 0.1 0.1\n')
    assert len(read(root).samples) == 3
    dataset_split = read(root, 'train', training=True)
    assert [sample.name for sample in dataset_split.samples] == [NAMES[0], NAMES[2]]
    assert (
        f'left out 1 images without a valid label from training: {NAMES[1]}' in dataset_split.notes
    )


def test_split_without_any_valid_label_is_refused_with_reasons(root: Path) -> None:
    label(root, '7 0.5 0.5 0.25 0.5')
    with pytest.raises(DatasetError) as caught:
        read(root, 'train', training=True)
    reason = str(caught.value)
    assert 'train.txt: expected a valid label in at least one of 3 images, got none; ' in reason
    assert f'labels/{NAMES[0]}.txt: line 1: class id 7 is not one of 0 to 1' in reason
    path = root / 'labels' / f'{NAMES[2]}.txt'
    assert f'1 of 3 images have no label file, such as {path}: no such file, nor' in reason


@pytest.mark.parametrize(
    'entry',
    [
        'images/{}.jpg',
        './images/{}.jpg',
        '{root}/images/{}.jpg',
        '/home/someone/finetune_dataset/images/{}.jpg',
        'elsewhere/{}.jpg',
        'C:\\data\\images\\{}.jpg',
        '  images/{}.jpg\t',
    ],
)
def test_list_with_paths_of_another_computer_is_resolved(root: Path, entry: str) -> None:
    lines = [entry.format(name, root=root) for name in NAMES]
    (root / 'splits' / 'val.txt').write_bytes(b'\xef\xbb\xbf' + '\r\n\r\n'.join(lines).encode())
    dataset_split = read(root)
    assert [sample.name for sample in dataset_split.samples] == list(NAMES)
    assert {sample.path.parent for sample in dataset_split.samples} == {root / 'images'}


@pytest.mark.parametrize('split', ['val', 'splits/val.txt', '{root}/splits/val.txt'])
def test_split_is_selected_by_name_or_path(root: Path, split: str) -> None:
    assert len(read(root, split.format(root=root)).samples) == 3


def test_existing_path_takes_precedence_over_the_file_name(root: Path, tmp_path: Path) -> None:
    (root / 'other').mkdir()
    shutil.copy(root / 'images' / f'{NAMES[1]}.jpg', root / 'other' / f'{NAMES[0]}.jpg')
    (root / 'splits' / 'val.txt').write_text(f'other/{NAMES[0]}.jpg\nimages/{NAMES[0]}.jpg')
    dataset_split = read(root)
    assert [sample.path.parent.name for sample in dataset_split.samples] == ['other', 'images']
    assert [sample.name for sample in dataset_split.samples] == [
        f'other/{NAMES[0]}',
        f'images/{NAMES[0]}',
    ]


def test_labels_of_nested_images_are_found(root: Path) -> None:
    for folder in ('images/night', 'labels/night'):
        (root / folder).mkdir()
    image = root / 'images' / 'night' / 'images.jpg'
    (root / 'images' / f'{NAMES[0]}.jpg').rename(image)
    (root / 'labels' / 'night' / 'images.txt').write_text(GOOD)
    (root / 'splits' / 'val.txt').write_text('images/night/images.jpg')
    assert read(root).samples[0].boxes.tolist() == [BOX]
    (root / 'labels' / 'images.txt').write_text('')  # the flat one comes first
    assert len(read(root).samples[0].boxes) == 0


def test_split_folders_and_names_in_data_yaml_are_read(root: Path) -> None:
    shutil.rmtree(root / 'splits')
    for kind in ('images', 'labels'):
        (root / kind).rename(root / 'moved')
        (root / kind).mkdir()
        (root / 'moved').rename(root / kind / 'valid')
    (root / 'classes.txt').unlink()
    (root / 'data.yaml').write_text('names: {0: person, 1: car}\nnc: 2\n')
    dataset_split = read(root, 'valid')
    assert dataset_split.class_names == ('person', 'car')
    assert [len(sample.boxes) for sample in dataset_split.samples] == [1, 0, 0]
    (root / 'valid').mkdir()
    for kind in ('images', 'labels'):
        (root / kind / 'valid').rename(root / 'valid' / kind)
    assert [len(sample.boxes) for sample in read(root, 'valid').samples] == [1, 0, 0]


def test_labels_beside_images_are_found(root: Path) -> None:
    for split in ('train', 'val'):
        (root / split).mkdir()
        shutil.copy(root / 'images' / f'{NAMES[0]}.jpg', root / split / 'a.jpg')
        (root / split / 'a.txt').write_text(GOOD if split == 'train' else '')
        (root / 'splits' / f'{split}.txt').unlink()
    assert [len(sample.boxes) for sample in read(root, 'train').samples] == [1]
    assert [len(sample.boxes) for sample in read(root, 'val').samples] == [0]


def test_equal_file_names_in_foreign_lists_are_distinguished(root: Path) -> None:
    for split in ('train', 'val'):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir()
        shutil.copy(root / 'images' / f'{NAMES[0]}.jpg', root / 'images' / split / 'a.jpg')
        (root / 'labels' / split / 'a.txt').write_text(GOOD if split == 'train' else '')
        (root / 'splits' / f'{split}.txt').write_text(f'/home/me/set/images/{split}/a.jpg\n')
        (sample,) = read(root, split).samples
        assert sample.path == root / 'images' / split / 'a.jpg'
        assert len(sample.boxes) == (split == 'train')


@pytest.mark.parametrize(
    ('yaml', 'split', 'folders'),
    [
        ('train: images/day', 'train', ['day']),
        ('train: [images/day, images/night]', 'train', ['day', 'night']),
        ('train: {root}/images/day', 'train', ['day']),
        ('path: images\ntrain: day', 'train', ['day']),
        ('path: ./images\nval: night', 'val', ['night']),
        ('path: {root}\nval: images/night', 'val', ['night']),
        ('path: /home/someone/else\nval: images/night', 'val', ['night']),
        ('train: ../images/day', 'train', ['day']),
        ('valid: images/night', 'val', ['night']),
        ('val: images/night', 'valid', ['night']),
        ('test: images/night', 'test', ['night']),
        ('train: lists/day.txt', 'train', ['day']),
        ('train: [lists/day.txt, images/night]', 'train', ['day', 'night']),
    ],
)
def test_data_yaml_names_the_folders_of_a_split(
    root: Path, yaml: str, split: str, folders: list[str]
) -> None:
    shutil.rmtree(root / 'splits')
    (root / 'classes.txt').unlink()
    for folder in ('day', 'night'):
        (root / 'images' / folder).mkdir()
        shutil.copy(root / 'images' / f'{NAMES[0]}.jpg', root / 'images' / folder / 'a.jpg')
        (root / 'labels' / folder).mkdir()
        (root / 'labels' / folder / 'a.txt').write_text(GOOD)
    (root / 'lists').mkdir()
    (root / 'lists' / 'day.txt').write_text('../images/day/a.jpg\n')
    (root / 'data.yaml').write_text(f'{yaml.format(root=root)}\nnames: [person, 7]\n')
    dataset_split = read(root, split)
    assert dataset_split.class_names == ('person', '7')
    assert [sample.path.parent.name for sample in dataset_split.samples] == folders
    assert [sample.boxes.tolist() for sample in dataset_split.samples] == [[BOX]] * len(folders)
    assert len({sample.name for sample in dataset_split.samples}) == len(folders)


def test_missing_split_folder_in_data_yaml_is_refused(root: Path) -> None:
    shutil.rmtree(root / 'splits')
    (root / 'data.yaml').write_text('val: images/gone\nnames: [a]\n')
    with pytest.raises(DatasetError, match=r"data\.yaml: val: expected a folder .* 'images/gone'"):
        read(root)


@pytest.mark.parametrize(
    ('line', 'box'),
    [
        ('1 0.375 0.25 0.625 0.25 0.5 0.75', BOX),
        ('1 0.375 0.25 0.625 0.25 0.625 0.75 0.375 0.75', BOX),
        ('1 0.5 0.75 0.375 0.5 0.5 0.25 0.625 0.5 0.5 0.75', BOX),
        ('1 -0.001 0.5 0.5 -0.001 0.25 1.001', [0, 0, 320, 512]),
    ],
)
def test_polygons_become_boxes(root: Path, line: str, box: list[int]) -> None:
    label(root, line)
    assert read(root, strict_labels=True).samples[0].boxes.tolist() == [box]


@pytest.mark.parametrize(
    ('shape', 'keypoints'),
    [('[1, 2]', '0.1 0.1'), ('[2, 3]', '0.1 0.1 2 0.9 0.9 1'), ('[3, 3]', '0 0 0 ' * 3), ('', '')],
)
def test_boxes_of_pose_labels_are_read(root: Path, shape: str, keypoints: str) -> None:
    (root / 'data.yaml').write_text(f'kpt_shape: {shape}\n')
    label(root, f'{GOOD.strip()} {keypoints}\n{GOOD}')
    assert read(root, strict_labels=True).samples[0].boxes.tolist() == [BOX, BOX]
    label(root, f'{GOOD.strip()} {keypoints} 0.3 0.3 0.5')
    reason = '6 columns of keypoints' if '2, 3' in shape else 'got'
    with pytest.raises(DatasetError, match=rf'{NAMES[0]}\.txt: line 1: expected .*{reason}'):
        read(root, strict_labels=True)


@pytest.mark.parametrize('shape', ['17', '[17]', '[17, 4]', '[0, 3]', '[a, 3]', '{0: 17}'])
def test_invalid_kpt_shape_is_refused(root: Path, shape: str) -> None:
    (root / 'data.yaml').write_text(f'kpt_shape: {shape}\n')
    with pytest.raises(DatasetError, match=r'data\.yaml: kpt_shape: expected \[number'):
        read(root)


def test_validation_list_may_be_called_valid(root: Path) -> None:
    for name in ('valid', 'validation'):
        (root / 'splits' / 'val.txt').rename(root / 'splits' / f'{name}.txt')
        assert len(read(root, 'val').samples) == 3
        (root / 'splits' / f'{name}.txt').rename(root / 'splits' / 'val.txt')
    assert len(read(root, 'valid').samples) == 3


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('0 0.5 0.5 0.1', 'bad value'),
        ('0', 'bad value'),
        ('car 0.5 0.5 0.1 0.1', 'bad value'),
        ('0.5 0.5 0.5 0.1 0.1', 'bad value'),
        ('0 nan 0.5 0.1 0.1', 'not finite'),
        ('0 0.5 0.5 inf 0.1', 'not finite'),
        ('0 0.5 0.5 0.1 0,1', 'bad value'),
        ('\0', 'bad value'),
        ('0 0.1 0.1 0.2 0.1 0.2 0.2 0.1', 'bad value'),  # a corner has no y
        ('0 0.1 0.1 0.2 0.1 nan 0.2', 'not finite'),
        ('0 1.1 0.1 1.2 0.1 1.2 0.2', 'parts of the image, 0 to 1'),
        ('0 0.5 0.5 0.1 0.1 0.5 0.5 2 0.4 0.4 0', 'if these are keypoints, write their kpt_shape'),
        ('0 -0.1 0.1 0.2 0.1 0.2 0.2', 'bad value'),
        ('0 1.001 0.1 1.002 0.1 1.002 0.2', 'box off image'),
        ('2 0.5 0.5 0.1 0.1', 'class id 2 is not one of 0 to 1'),
        ('-1 0.5 0.5 0.1 0.1', 'class id -1 is not one of 0 to 1'),
        ('1e30 0.5 0.5 0.1 0.1', 'unknown class'),
        ('0 0.5 0.5 0 0.1', 'box degenerate'),
        ('0 0.5 0.5 -0.1 -0.1', 'box inverted'),
        ('0 1.5 0.5 0.1 0.1', 'box off image'),
        ('0 1e300 0.5 1e-300 0.1', 'box off image'),
    ],
)
def test_invalid_lines_are_skipped_or_refused_if_strict(
    root: Path, line: str, reason: str
) -> None:
    label(root, f'{line}\n\n{GOOD}{line}\n')
    dataset_split = read(root)
    assert dataset_split.samples[0].boxes.tolist() == [BOX]
    (note,) = dataset_split.notes
    assert note.startswith('skipped 2 ')
    assert reason in note
    assert f'labels/{NAMES[0]}.txt: line 1: ' in note
    assert f'labels/{NAMES[0]}.txt: line 4: ' in note
    with pytest.raises(DatasetError, match=rf'labels/{NAMES[0]}\.txt: line 1: '):
        read(root, strict_labels=True)


def test_many_invalid_lines_give_one_note(root: Path) -> None:
    label(root, '9 0.5 0.5 0.1 0.1\n' * 1000)
    (note,) = read(root).notes
    assert note.startswith('skipped 1000 x unknown class: ')
    assert note.count('class id 9') == 3


@pytest.mark.parametrize(
    'text', ['1.0 0.5 0.5 0.25 0.5', '1 0.5 0.5 0.25 0.5 0.93', '1\t0.5  0.5 .25 5e-1\r\n']
)
def test_format_variants_are_accepted(root: Path, text: str) -> None:
    label(root, b'\xef\xbb\xbf' + text.encode())
    dataset_split = read(root, strict_labels=True)
    assert dataset_split.samples[0].boxes.tolist() == [BOX]


def test_boxes_are_clipped_to_the_image(root: Path) -> None:
    label(root, '0 0 0 1 1\n0 1 1 0.5 0.5\n0 0.5 0.5 9 9')
    boxes = [[0, 0, 320, 256], [480, 384, 640, 512], [0, 0, 640, 512]]
    assert read(root).samples[0].boxes.tolist() == boxes


def test_missing_image_is_refused_with_its_line(root: Path) -> None:
    (root / 'images' / f'{NAMES[1]}.jpg').unlink()
    with pytest.raises(DatasetError, match=rf'line 2: {NAMES[1]}\.jpg: neither at its path'):
        read(root)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'expected an image path a line, got none'),
        (f'images/{NAMES[0]}.jpg\n/x/{NAMES[0]}.jpg', 'line 2: .* is the image of line 1 too'),
        ('nul\0.jpg', r'line 1: nul\\x00\.jpg: neither'),
        ('x' * 300, 'line 1: x+: neither'),
        ('..', 'line 1: .*: neither'),
        ('labels', 'cannot be read|cannot read'),
        (f'labels/{NAMES[0]}.txt', 'not an image'),
    ],
    ids=['empty', 'twice', 'null', 'long', 'up', 'folder', 'text'],
)
def test_invalid_list_is_refused(root: Path, text: str, reason: str) -> None:
    (root / 'splits' / 'val.txt').write_text(text)
    with pytest.raises(DatasetError, match=reason):
        read(root)


def test_missing_files_are_refused_with_their_names(root: Path) -> None:
    with pytest.raises(DatasetError, match=r'splits/test\.txt: no such file, nor a folder'):
        read(root, 'test')
    (root / 'classes.txt').unlink()
    with pytest.raises(DatasetError, match=r'classes\.txt: no such file; write class names in it'):
        read(root)
    named = read_split(SourceConfig(format='yolo', root=str(root)), 'val', False, ('a', 'b'))
    assert named.class_names == ('a', 'b')


LEVELS = [f'{new}: &{new} [{f"*{old}, " * 10}]' for old, new in zip('abcdefgh', 'bcdefghi')]
BOMB = '\n'.join(['a: &a [x]', *LEVELS, 'names: *i'])
DIGITS = f'names: [{"9" * 100_000}, a, a]'


@pytest.mark.parametrize('text', [BOMB, '[' * 100_000, DIGITS, '#' * 300_000])
def test_yaml_bombs_are_refused(root: Path, text: str) -> None:
    (root / 'classes.txt').unlink()
    (root / 'data.yaml').write_text(text)
    with pytest.raises(DatasetError, match=r'data\.yaml: (names: expected|not YAML|expected at)'):
        read(root)


@pytest.mark.parametrize(
    'text', ['', 'names:', 'names: [a, a]', 'names: {1: a, 2: b}', '[', 'names: a', '- 1', '\0']
)
def test_invalid_names_in_data_yaml_are_refused(root: Path, text: str) -> None:
    (root / 'classes.txt').unlink()
    (root / 'data.yaml').write_text(text)
    with pytest.raises(DatasetError, match=r'data\.yaml: (names: expected|not YAML|cannot be)'):
        read(root)


def test_symlink_loop_is_refused(root: Path) -> None:
    image = root / 'images' / f'{NAMES[0]}.jpg'
    image.unlink()
    image.symlink_to(image)
    with pytest.raises(DatasetError, match='cannot read the image'):
        read(root)


@settings(max_examples=150, deadline=None)
@given(text=st.binary(max_size=60) | st.text('0123456789.-+einfax \n\t', max_size=60))
def test_any_label_is_parsed_or_refused(
    text: str | bytes, tmp_path_factory: pytest.TempPathFactory, hit_uav: Path
) -> None:
    folder = tmp_path_factory.getbasetemp() / 'yolo_fuzz'
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / 'classes.txt').write_text('person\ncar\n')
    (folder / 'list.txt').write_text(f'{NAMES[0]}.jpg')
    shutil.copy(hit_uav / 'JPEGImages' / f'{NAMES[0]}.jpg', folder / 'images')
    label(folder, text)
    try:
        (sample,) = read(folder, 'list.txt').samples
    except DatasetError as error:
        assert 'cannot be read as text' in str(error)
        return
    assert np.isfinite(sample.boxes).all()
    assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
    assert (sample.boxes <= (640, 512, 640, 512)).all()
