"""PASCAL VOC folders, valid and invalid."""

from collections.abc import Callable
from pathlib import Path
import re
import shutil
import struct
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import SourceConfig
from mnssd_training.data import Sample
from mnssd_training.data.formats import read_split
from mnssd_training.data.sample import ANY_CLASS, load_image
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

CLASSES = ('Person', 'Car')


def annotation(objects: str = '', width: object = 640, height: object = 512) -> str:
    size = f'<size><width>{width}</width><height>{height}</height><depth>1</depth></size>'
    return f'<annotation>{size}{objects}</annotation>'


def an_object(
    name: str = 'Car',
    box: tuple[object, object, object, object] = (10, 20, 30, 40),
    difficult: object = 0,
) -> str:
    edges = ''.join(
        f'<{tag}>{value}</{tag}>'
        for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True)
    )
    return (
        f'<object><name>{name}</name><difficult>{difficult}</difficult>'
        f'<bndbox>{edges}</bndbox></object>'
    )


def write_folder(root: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write a dataset of one image; return the path of its annotation, which is missing."""
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / 'classes.txt').write_text('\n'.join(classes))
    (root / 'JPEGImages' / 'image.jpg').touch()
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('image')
    return root / 'Annotations' / 'image.xml'


def read_list(root: Path, split: str) -> list[Sample]:
    return read_split(SourceConfig(root=str(root)), split).samples


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Sample]:
    """Write an annotation and read it."""

    def write_and_read(content: str | bytes, classes: tuple[str, ...] = CLASSES) -> Sample:
        path = write_folder(tmp_path, classes)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (sample,) = read_list(tmp_path, 'train')
        return sample

    return write_and_read


@pytest.fixture
def folder(tmp_path: Path, hit_uav: Path) -> Path:
    """A copy of the real images, to be corrupted."""
    return Path(shutil.copytree(hit_uav, tmp_path / 'hit_uav'))


# --- what is right ---------------------------------------------------------------------------


def test_real_images_are_read_as_annotated(hit_uav: Path) -> None:
    samples = {
        sample.name: sample for split in ('train', 'val') for sample in read_list(hit_uav, split)
    }
    assert len(samples) == 8
    for name, sample in samples.items():
        text = (hit_uav / 'Annotations' / f'{name}.xml').read_text()
        edges = re.findall(r'<(?:xmin|ymin|xmax|ymax)>(\d+)<', text)
        assert sample.size == load_image(sample).shape[:2] == (512, 640)
        regions = np.concatenate((sample.boxes, sample.ignore))
        assert sorted(map(int, edges)) == sorted(regions.ravel().tolist())
        assert len(edges) == 4 * len(regions)
        assert sample.boxes.dtype == sample.ignore.dtype == np.float32
        assert sample.labels.dtype == sample.ignore_labels.dtype == np.int64
        assert sample.labels.shape == (len(sample.boxes),)


def test_boxes_of_a_real_image(hit_uav: Path) -> None:
    sample = next(s for s in read_list(hit_uav, 'val') if s.name == '1_60_50_0_00299')
    assert sample.boxes[0].tolist() == [178, 103, 198, 130]  # as written: nothing is subtracted
    assert sample.labels.tolist() == [0] * 5
    assert sample.ignore[0].tolist() == [589, 432, 630, 500]
    assert sample.ignore_labels.tolist() == [ANY_CLASS, 0]  # DontCare, and a difficult Person


def test_samples_have_list_order_and_images_without_objects_are_kept(hit_uav: Path) -> None:
    listed = (hit_uav / 'ImageSets' / 'Main' / 'val.txt').read_text().split()
    samples = read_list(hit_uav, 'val')
    assert [sample.name for sample in samples] == listed
    assert [len(sample.boxes) + len(sample.ignore) for sample in samples].count(0) == 1


def test_annotation_without_objects(read: Callable[..., Sample]) -> None:
    sample = read(annotation())
    assert sample.boxes.shape == sample.ignore.shape == (0, 4)
    assert sample.labels.shape == sample.ignore_labels.shape == (0,)


@pytest.mark.parametrize(
    'box', [(0, 0, 640, 512), (0, 0, 1, 1), (639, 511, 640, 512), (10.25, 20.5, 30.75, 40.125)]
)
def test_coordinates_are_used_as_written(read: Callable[..., Sample], box: tuple) -> None:
    assert read(annotation(an_object(box=box))).boxes[0].tolist() == list(box)


def test_box_over_the_edge_is_clipped(read: Callable[..., Sample]) -> None:
    sample = read(annotation(an_object(box=(-5, -7, 641, 9999))))
    assert sample.boxes[0].tolist() == [0, 0, 640, 512]


@pytest.mark.parametrize('name', ['DontCare', 'dontcare', 'ignored regions', 'Misc', 'ignore'])
def test_ignore_names_become_ignore_regions_of_every_class(
    read: Callable[..., Sample], name: str
) -> None:
    sample = read(annotation(an_object(name)))
    assert len(sample.boxes) == 0
    assert sample.ignore.tolist() == [[10, 20, 30, 40]]
    assert sample.ignore_labels.tolist() == [ANY_CLASS]


def test_listed_ignore_name_is_a_class(read: Callable[..., Sample]) -> None:
    sample = read(annotation(an_object('Misc')), ('Misc',))
    assert (len(sample.boxes), len(sample.ignore)) == (1, 0)


def test_difficult_object_becomes_ignore_region_of_its_class(read: Callable[..., Sample]) -> None:
    sample = read(annotation(an_object('Car', difficult=1) + an_object('Person')))
    assert sample.labels.tolist() == [0]
    assert sample.ignore_labels.tolist() == [1]


@pytest.mark.parametrize(
    'change',
    [
        lambda text: b'\xef\xbb\xbf' + text.encode(),
        lambda text: text.replace('>', '>\r\n').encode(),
        lambda text: text.replace('<name>', '<name> \t').encode(),
        lambda text: text.replace('<difficult>0</difficult>', '').encode(),
        lambda text: text.replace('</bndbox>', '</bndbox><extra>x</extra>').encode(),
        lambda text: f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode(),
    ],
    ids=['BOM', 'CRLF', 'blanks', 'no difficult', 'unknown tag', 'declaration'],
)
def test_format_variants_are_accepted(
    read: Callable[..., Sample], change: Callable[[str], bytes]
) -> None:
    sample = read(change(annotation(an_object())))
    assert sample.boxes.tolist() == [[10, 20, 30, 40]]
    assert sample.labels.tolist() == [1]


def test_list_with_bom_crlf_and_second_column_is_read(folder: Path) -> None:
    path = folder / 'ImageSets' / 'Main' / 'train.txt'
    names = path.read_text().split()
    path.write_bytes(b'\xef\xbb\xbf' + ''.join(f'{name}  1\r\n' for name in names).encode())
    assert [sample.name for sample in read_list(folder, 'train')] == names


# --- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('', 'not XML'),
        ('not xml at all', 'not XML'),
        ('<annotation>', 'not XML'),
        (b'\xff\xfe\x00\x00', 'cannot be read as text'),
        (b'\x00\x01\x02', 'not XML'),
        ('<annotation/>', 'size/height: expected a number, got nothing .2 problems'),
        (annotation(width=0), 'expected sides of 1 to'),
        (annotation(width=-640), 'expected sides of 1 to'),
        (annotation(width=640.5), 'expected sides of 1 to'),
        (annotation(height=10**9), 'expected sides of 1 to'),
        (annotation(height='nan'), 'size/height: expected a number'),
        (annotation(height='tall'), "size/height: expected a number, got 'tall'"),
        (annotation('<object/>'), 'object 0: expected a name, got nothing'),
        (annotation(an_object('')), 'object 0: expected a name, got nothing'),
        (
            annotation('<object><name>Car</name></object>'),
            'object 0: bndbox/xmin: .* got nothing',
        ),
        (annotation(an_object(box=(1, 2, 3, ''))), 'object 0: bndbox/ymax: expected a number'),
        (annotation(an_object(box=('nan', 2, 3, 4))), 'object 0: bndbox/xmin: expected a number'),
        (annotation(an_object(box=(1, 2, 'inf', 4))), 'object 0: bndbox/xmax: expected a number'),
        (annotation(an_object(box=(1, '2 px', 3, 4))), "object 0: bndbox/ymin: .*'2 px'"),
        (
            annotation(an_object(box=(30, 20, 10, 40))),
            'object 0: expected x1 <= x2 and y1 <= y2, got Car',
        ),
        (annotation(an_object(box=(10, 40, 30, 20))), 'object 0: expected x1 <= x2'),
        (annotation(an_object(box=(10, 20, 10, 40))), 'object 0: expected a box'),
        (annotation(an_object(box=(700, 20, 800, 40))), 'object 0: expected a box'),
        (annotation(an_object(box=(-9, -9, 0, 5))), 'object 0: expected a box'),
        (annotation(an_object(box=(600, 20, 600.000001, 40))), 'object 0: expected a box'),
        (annotation(an_object('Tank')), "object 0: is of class 'Tank'; available: Person, Car"),
        (annotation(an_object('car')), "object 0: is of class 'car'"),
        (
            annotation(an_object(difficult='maybe')),
            "object 0: expected difficult 0 or 1, got 'may",
        ),
        (annotation(an_object() + an_object('Tank')), "object 1: is of class 'Tank'"),
        (annotation(an_object() + an_object(box=(9, 9, 1, 1))), 'object 1: expected x1 <= x2'),
    ],
)
def test_invalid_annotation_is_refused_with_file_and_object(
    read: Callable[..., Sample], tmp_path: Path, content: str | bytes, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        read(content)
    assert caught.value.path == tmp_path / 'Annotations' / 'image.xml'
    assert str(caught.value).startswith(f'{caught.value.path}: ')
    assert '\n' not in str(caught.value)


def test_entity_expansion_is_refused(read: Callable[..., Sample]) -> None:
    entities = ''.join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 50}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY a0 "boom">{entities}]>{annotation(an_object("&a11;"))}'
    with pytest.raises(DatasetError, match='not XML'):
        read(bomb)


def corrupt_list(folder: Path, text: str) -> None:
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text(text)


@pytest.mark.parametrize('text', ['', '\n \n'])
def test_empty_list_is_refused(folder: Path, text: str) -> None:
    corrupt_list(folder, text)
    with pytest.raises(DatasetError, match=r'train\.txt: expected a name a line'):
        read_list(folder, 'train')


def test_name_listed_twice_is_refused(folder: Path) -> None:
    corrupt_list(folder, '0_60_70_0_06611\n0_60_50_0_06519\n0_60_70_0_06611\n')
    with pytest.raises(DatasetError, match="line 3: '0_60_70_0_06611' is listed on line 1 too"):
        read_list(folder, 'train')


@pytest.mark.parametrize('name', ['nobody', 'nul\0', 'x' * 5000, '../../..', 'a/b/c', '\ud7ff'])
def test_name_without_files_is_refused(folder: Path, name: str) -> None:
    corrupt_list(folder, name)
    with pytest.raises(DatasetError):
        read_list(folder, 'train')


def test_missing_files_are_refused_with_their_names(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r'test\.txt: no such file'):
        read_list(folder, 'test')
    (folder / 'JPEGImages' / '0_60_70_0_06611.jpg').unlink()
    with pytest.raises(DatasetError, match=r'06611\.jpg: no image with a suffix of .jpg'):
        read_list(folder, 'train')
    (folder / 'Annotations' / '1_60_50_0_00299.xml').unlink()
    with pytest.raises(DatasetError, match=r'1_60_50_0_00299\.xml: no such file'):
        read_list(folder, 'val')
    with pytest.raises(DatasetError, match='no such file'):
        read_list(folder / 'nowhere', 'train')


@pytest.mark.parametrize('text', ['', '\n', 'Car\nPerson\nCar\n', 'Car\n\nPerson\n'])
def test_invalid_class_list_is_refused(tmp_path: Path, text: str) -> None:
    write_folder(tmp_path).write_text(annotation())
    (tmp_path / 'classes.txt').write_text(text)
    reason = r'classes\.txt: (line [23]: )?expected class names that differ'
    with pytest.raises(DatasetError, match=reason):
        read_list(tmp_path, 'train')


# --- images ----------------------------------------------------------------------------------


def huge_png() -> bytes:
    """A PNG whose header announces more pixels than OpenCV decodes."""
    header = b'IHDR' + struct.pack('>IIBBBBB', 100_000, 100_000, 8, 0, 0, 0, 0)
    chunk = struct.pack('>I', 13) + header + struct.pack('>I', zlib.crc32(header))
    return b'\x89PNG\r\n\x1a\n' + chunk


def jpeg(side: int = 16) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)
    return cv2.imencode('.jpg', pixels)[1].tobytes()


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'cannot read the image: No such file'),
        (b'', 'not an image'),
        (b'\x00' * 100, 'not an image'),
        (b'GIF89a', 'not an image'),
        (huge_png(), 'not an image'),
        (jpeg()[:-200], 'a JPEG that is cut short'),
        (jpeg()[:30], 'damaged'),
        (jpeg(side=17), 'expected 16x16 pixels as annotated, got 17x17'),
    ],
    ids=['missing', 'empty', 'zeros', 'header', 'huge', 'cut', 'cut early', 'other size'],
)
def test_unusable_image_is_refused(
    make_sample: Callable[..., Sample], tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / 'image.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason) as caught:
        load_image(make_sample(size=(16, 16), path=path))
    assert caught.value.path == path


@pytest.mark.parametrize('name', ['nul\0.jpg', 'x' * 300, '.'])
def test_path_that_no_image_has_is_refused(
    make_sample: Callable[..., Sample], tmp_path: Path, name: str
) -> None:
    with pytest.raises(DatasetError, match='cannot read the image'):
        load_image(make_sample(path=tmp_path / name))


def test_grey_and_colour_files_decode_to_rgb(
    make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 2] = 200  # OpenCV writes BGR
    path = tmp_path / 'red.png'
    cv2.imwrite(str(path), red)
    assert load_image(make_sample(size=(4, 6), path=path))[0, 0].tolist() == [200, 0, 0]
    cv2.imwrite(str(path), red[..., 2])
    image = load_image(make_sample(size=(4, 6), path=path))
    assert image.shape == (4, 6, 3)
    assert image.flags.c_contiguous


# --- fuzz ------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.integers(-700, 1400),
    st.floats(width=32),
    st.sampled_from(
        ['', ' ', 'nan', '-inf', '1e999', '1_0', '0x10', '٣', '12px', '&lt;', '1e-30']
    ),
    st.text(max_size=8),
)
OBJECTS = st.builds(
    an_object,
    st.sampled_from(['Car', 'Person', 'DontCare', 'Tank', '', ' Car\n']),
    st.tuples(VALUES, VALUES, VALUES, VALUES),
    st.sampled_from([0, 1, 1, '', '2', 'true']),
)
GOOD = annotation(an_object() + an_object('DontCare') + an_object('Person', (1, 2, 3, 4), 1))


@st.composite
def corrupted(draw: st.DrawFn) -> bytes:
    """A good annotation with some bytes replaced, dropped or repeated."""
    content = bytearray(GOOD.encode())
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 12))
        content[start:end] = draw(st.binary(max_size=12))
    return bytes(content)


def check_sample_or_error(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        (sample,) = read_list(path.parents[1], 'train')
    except DatasetError as error:
        assert error.path == path
        return
    height, width = sample.size
    assert min(height, width) >= 1
    for boxes, labels in ((sample.boxes, sample.labels), (sample.ignore, sample.ignore_labels)):
        assert boxes.shape == (len(labels), 4)
        assert np.isfinite(boxes).all()
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes[:, 2:] <= (width, height)).all()
    assert np.isin(sample.labels, range(len(CLASSES))).all()
    assert np.isin(sample.ignore_labels, range(ANY_CLASS, len(CLASSES))).all()


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        corrupted(),
        st.builds(
            lambda objects, width, height: annotation(''.join(objects), width, height).encode(
                'utf-8', 'replace'
            ),
            st.lists(OBJECTS, max_size=4),
            st.one_of(st.just(640), VALUES),
            st.one_of(st.just(512), VALUES),
        ),
    )
)
def test_any_annotation_gives_a_valid_sample_or_an_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_sample_or_error(content, write_folder(tmp_path_factory.getbasetemp() / 'voc_fuzz'))
