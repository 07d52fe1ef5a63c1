"""Class lists: joined, renamed, refused and noted."""

from collections.abc import Callable
from typing import Any

from mnssd_training.config import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.classes import (
    balance,
    check_ids,
    check_rename,
    join_classes,
    relabel,
    renamed,
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


def test_no_class_at_all() -> None:
    with pytest.raises(ConfigError, match=r'there is no class; expected data\.classes'):
        join_classes([(source(), [listed()])])
    with pytest.raises(ConfigError, match='there is no class'):
        join_classes([(source(a=''), [listed('a')])])


def test_the_list_of_one_data_set_keeps_its_order() -> None:
    assert join_classes([(source(), [listed('b', 'a'), listed('b', 'a', 'c')])]) == ('b', 'a', 'c')


def test_names_that_were_only_found_are_sorted_over_all_splits() -> None:
    splits = [listed('b', declared=False), listed('a', 'c', declared=False)]
    assert join_classes([(source(), splits)]) == ('a', 'b', 'c')


def test_the_union_of_several_data_sets_with_renaming() -> None:
    one = (source(people='person', misc=''), [listed('people', 'car', 'misc')])
    two = (source(auto='car'), [listed('boat', 'auto', 'person')])
    assert join_classes([one, two]) == ('person', 'car', 'boat')


def test_the_list_of_the_experiment_wins() -> None:
    assert join_classes([(source(), [listed('b', 'a')])], ('a', 'c')) == ('a', 'c')


@pytest.mark.parametrize('other', ['car', 'CAR', 'C ar', 'c_ar', 'Ca-r'])
def test_names_that_differ_only_in_spelling(other: str) -> None:
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
def test_renamed(name: str, rename: dict, classes: tuple, expected: str) -> None:
    assert renamed(name, rename, classes) == expected


def test_labels_count_in_the_joint_list(make_sample: Make) -> None:
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


def test_an_unknown_class_is_refused_if_an_object_is_of_it(make_sample: Make) -> None:
    seen = listed('car', 'tank', samples=[make_sample([BOX], [1])])
    with pytest.raises(DatasetError, match=r"an object of class 'tank'; known are car; data\.cla"):
        relabel(seen, source(), ('car',))
    unseen = listed('car', 'tank', samples=[make_sample([BOX], [0])])
    assert relabel(unseen, source(), ('car',))[0].labels.tolist() == [0]
    hidden = relabel(seen, source(**{'*': ''}), ('car',))[0]
    assert (len(hidden.boxes), hidden.ignore_labels.tolist()) == (0, [ANY_CLASS])


@pytest.mark.parametrize(
    ('rename', 'words'),
    [
        ({'Cra': 'x'}, "made_up has no class 'Cra'; did you mean 'Car'"),
        ({'zzz': 'x'}, "has no class 'zzz'; it has Car, Person"),
    ],
)
def test_renaming_a_class_that_is_not_there(rename: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_rename(source(**rename), [listed('Car'), listed('Person')])


def test_renaming_a_class_of_either_split_is_right() -> None:
    check_rename(source(Car='a', Person='b', **{'*': ''}), [listed('Car'), listed('Person')])


def test_one_id_with_two_names() -> None:
    check_ids(source(), [])
    check_ids(source(), [listed(ids={1: 'a'}), listed(ids={1: 'a', 2: 'b'})])
    with pytest.raises(DatasetError, match="class id 1 is 'a' in one split and 'b' in another"):
        check_ids(source(), [listed(ids={1: 'a'}), listed(ids={1: 'b'})])


def test_classes_that_one_split_lacks(make_sample: Make) -> None:
    train, val = [make_sample([BOX, BOX], [0, 1])], [make_sample([BOX, BOX], [0, 2])]
    assert balance([], val, ('a',)) == balance(train, [], ('a',)) == ()
    assert balance(train, val, ('a', 'b', 'c', 'd')) == (
        "MEDIUM: 'b' is only in the training split: it is not scored",
        "HIGH: 'c' is only in the validation split: it cannot be learnt",
        "LOW: 'd' has no object in either split",
    )
