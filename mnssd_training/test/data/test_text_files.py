"""Text files of datasets: limits, and files that are missing or damaged."""

import os
from pathlib import Path

from mnssd_training.data.text_files import (
    choose_unique_names,
    DirectoryIndex,
    list_image_files,
    MAX_ANNOTATION,
    read_text,
    read_xml,
)
from mnssd_training.errors import DatasetError
import pytest


def test_directory_index_lists_each_folder_once(tmp_path: Path) -> None:
    folders = DirectoryIndex()
    (tmp_path / 'a').touch()
    assert folders.has(tmp_path / 'a')
    (tmp_path / 'b').touch()
    assert not folders.has(tmp_path / 'b')
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    for path in ('nowhere/a', 'nul\0/a', 'a/b', 'loop/a', 'x' * 5000 + '/a'):
        assert not folders.has(tmp_path / path)


@pytest.mark.parametrize(
    ('candidates', 'names'),
    [
        ([[], []], []),
        ([['1', '2'], ['a/1', 'b/2']], ['1', '2']),
        ([['1', '1'], ['a/1', 'b/1']], ['a/1', 'b/1']),
        ([['1', '1'], ['a/1', 'a/1'], ['a/1.jpg', 'a/1.png']], ['a/1.jpg', 'a/1.png']),
    ],
)
def test_the_first_list_without_repeated_names_is_chosen(
    candidates: list[list[str]], names: list[str]
) -> None:
    assert choose_unique_names(*candidates) == names


# --- limits ----------------------------------------------------------------------------------


def test_text_above_the_size_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_bytes(b'')
    assert read_text(path, 0) == ''
    path.write_bytes(b'abc')
    assert read_text(path, 3) == 'abc'
    with pytest.raises(DatasetError, match='expected at most 2 bytes, got 3'):
        read_text(path, 2)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    with path.open('wb') as file:
        file.truncate(1 << 40)  # bytes that are not on the disk
    with pytest.raises(DatasetError, match='got 1099511627776'):
        read_text(path)


def test_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.txt')
    with pytest.raises(DatasetError, match='not a file'):
        read_text(tmp_path / 'a.txt')


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + ''.join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip('abcdefgh', 'bcdefghi'))
    + ']><a>&i;</a>'
)


@pytest.mark.parametrize(
    'text',
    [
        LAUGHS,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<a>' * 100_000,
        '<a/>' * 400_001,
        '<a>&b;</a>',
        '',
        '\0',
        'a' * (MAX_ANNOTATION + 1),
    ],
    ids=['laughs', 'external', 'open', 'tags', 'unknown', 'empty', 'null', 'long'],
)
def test_xml_bombs_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(DatasetError, match=r'a\.xml: (not XML|expected at most)'):
        read_xml(tmp_path / 'a.xml')


def test_deeply_nested_xml_is_parsed(tmp_path: Path) -> None:
    (tmp_path / 'a.xml').write_text('<a>' * 200_000 + '</a>' * 200_000)
    assert read_xml(tmp_path / 'a.xml').tag == 'a'


def test_images_of_every_supported_suffix_are_listed(tmp_path: Path) -> None:
    for name in ('b.PGM', 'a.ppm', 'c.jpg', 'd.txt'):
        (tmp_path / name).touch()
    assert [path.name for path in list_image_files(tmp_path)] == ['a.ppm', 'b.PGM', 'c.jpg']
