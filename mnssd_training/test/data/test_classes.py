"""Class lists: joined, mapped and checked."""

from collections.abc import Callable
from typing import Any

from mnssd_training.config import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.classes import (
    check_class_ids,
    check_class_map,
    join_classes,
    map_class,
    note_missing_classes,
    relabel,
)
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import ConfigError, DatasetError
import pytest

Make = Callable[..., Sample]
BOX = (10, 20, 30, 40)


def source(**rename: str) -> SourceConfig:
    return SourceConfig(root='made_up', class_map=rename)


def listed(*names: str, samples: Any = (), **keys: Any) -> DatasetSplit:
    return DatasetSplit(names, list(samples), **keys)


def test_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'there is no class; expected data\.classes'):
        join_classes([(source(), [listed()])])
    with pytest.raises(ConfigError, match='there is no class'):
        join_classes([(source(a=''), [listed('a')])])


def test_class_list_of_one_dataset_keeps_its_order() -> None:
    assert join_classes([(source(), [listed('b', 'a'), listed('b', 'a', 'c')])]) == ('b', 'a', 'c')


def test_names_without_a_list_are_sorted() -> None:
    splits = [listed('b', declared=False), listed('a', 'c', declared=False)]
    assert join_classes([(source(), splits)]) == ('a', 'b', 'c')


def test_union_of_datasets_with_a_class_map() -> None:
    one = (source(people='person', misc=''), [listed('people', 'car', 'misc')])
    two = (source(auto='car'), [listed('boat', 'auto', 'person')])
    assert join_classes([one, two]) == ('person', 'car', 'boat')


def test_class_list_of_the_experiment_wins() -> None:
    assert join_classes([(source(), [listed('b', 'a')])], ('a', 'c')) == ('a', 'c')


@pytest.mark.parametrize('other', ['car', 'CAR', 'C ar', 'c_ar', 'Ca-r'])
def test_names_that_differ_only_in_spelling_are_refused(other: str) -> None:
    with pytest.raises(ConfigError, match=f"classes 'Car' and '{other}' differ only in spelling"):
        join_classes([(source(), [listed('Car')]), (source(), [listed(other)])])


@pytest.mark.parametrize(
    ('name', 'rename', 'classes', 'expected'),
    [
        ('a', {}, (), 'a'),
        ('a', {'a': 'b'}, (), 'b'),
        ('a', {'a': ''}, (), ''),
        ('a', {'*': 'thing'}, (), 'thing'),
        ('a', {'*': ''}, ('a',), 'a'),
        ('a', {'*': '', 'a': 'b'}, ('a',), 'b'),
    ],
)
def test_map_class(name: str, rename: dict, classes: tuple, expected: str) -> None:
    assert map_class(name, rename, classes) == expected


def test_relabel_uses_the_joint_class_list(make_sample: Make) -> None:
    sample = make_sample(
        [(0, 0, 1, 1), (0, 0, 2, 2), (0, 0, 3, 3)],
        [0, 1, 2],
        [(0, 0, 4, 4), (0, 0, 5, 5), (0, 0, 6, 6)],
        [0, 1, ANY_CLASS],
    )
    reading = listed('hidden', 'car', 'people', samples=[sample])
    (result,) = relabel(reading, source(hidden='', people='person'), ('person', 'car'))
    assert result.boxes[:, 2].tolist() == [2, 3]
    assert result.labels.tolist() == [1, 0]
    assert result.ignore[:, 2].tolist() == [4, 5, 6, 1]
    assert result.ignore_labels.tolist() == [ANY_CLASS, 1, ANY_CLASS, ANY_CLASS]
    (empty,) = relabel(listed('car', samples=[make_sample()]), source(), ('car',))
    assert empty.boxes.shape == empty.ignore.shape == (0, 4)


def test_object_of_an_unknown_class_is_refused(make_sample: Make) -> None:
    seen = listed('car', 'tank', samples=[make_sample([BOX], [1])])
    with pytest.raises(DatasetError, match=r"of class 'tank'; available: car; data\.cla"):
        relabel(seen, source(), ('car',))
    unseen = listed('car', 'tank', samples=[make_sample([BOX], [0])])
    assert relabel(unseen, source(), ('car',))[0].labels.tolist() == [0]
    hidden = relabel(seen, source(**{'*': ''}), ('car',))[0]
    assert (len(hidden.boxes), hidden.ignore_labels.tolist()) == (0, [ANY_CLASS])


@pytest.mark.parametrize(
    ('rename', 'words'),
    [
        ({'Cra': 'x'}, "made_up has no class 'Cra'; did you mean 'Car'"),
        ({'zzz': 'x'}, "has no class 'zzz'; available: Car, Person"),
    ],
)
def test_class_map_with_an_unknown_class_is_refused(rename: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_class_map(source(**rename), [listed('Car'), listed('Person')])


def test_class_map_may_name_classes_of_either_split() -> None:
    check_class_map(source(Car='a', Person='b', **{'*': ''}), [listed('Car'), listed('Person')])


def test_class_id_with_two_names_is_refused() -> None:
    check_class_ids(source(), [])
    check_class_ids(source(), [listed(ids={1: 'a'}), listed(ids={1: 'a', 2: 'b'})])
    with pytest.raises(DatasetError, match="class id 1 is 'a' in one split and 'b' in another"):
        check_class_ids(source(), [listed(ids={1: 'a'}), listed(ids={1: 'b'})])


def test_classes_missing_from_a_split_are_noted(make_sample: Make) -> None:
    train, val = [make_sample([BOX, BOX], [0, 1])], [make_sample([BOX, BOX], [0, 2])]
    assert note_missing_classes([], val, ('a',)) == note_missing_classes(train, [], ('a',)) == []
    assert note_missing_classes(train, val, ('a', 'b', 'c', 'd')) == [
        "MEDIUM: 'b' is only in the training set: it is not evaluated",
        "HIGH: 'c' is only in the validation set: it cannot be learned",
        "LOW: 'd' has no object in either split",
    ]
