"""What training does with the problems of a dataset."""

from pathlib import Path

from mnssd_training.data.problems import (
    describe_skipped,
    MAX_PER_FILE,
    NOT_LISTED,
    Problem,
    refuse_problems,
    report_to,
    SEVERITIES,
    SKIPPED_KINDS,
    try_read,
    unknown_class,
)
from mnssd_training.errors import DatasetError
import pytest

ROOT = Path('/data')
BAD = [Problem('bad value', ROOT / 'a.txt', f'line {n}', f'{n} is bad') for n in range(5)]
DEGENERATE = Problem('box degenerate', ROOT / 'b.txt', 'line 1', 'has no area')
WARNING = Problem('label file missing', ROOT / 'c.txt', '', 'no such file')


def test_no_problems_give_no_notes() -> None:
    refuse_problems([], ())
    assert describe_skipped([], ROOT) == []


def test_warnings_are_accepted_and_not_counted_as_skipped() -> None:
    refuse_problems([WARNING], ())
    assert describe_skipped([WARNING], ROOT) == []


def test_the_first_error_is_raised_with_its_count_and_hint() -> None:
    with pytest.raises(DatasetError) as caught:
        refuse_problems([WARNING, *BAD, DEGENERATE], ())
    assert caught.value.path == ROOT / 'a.txt'
    assert str(caught.value) == (
        '/data/a.txt: line 0: 0 is bad (5 problems like this); correct the line or the object, '
        'or remove it'
    )


def test_skipped_kinds_are_counted_with_examples() -> None:
    problems = [*BAD, DEGENERATE]
    refuse_problems(problems, {'bad value', 'box degenerate'})
    assert describe_skipped(problems, ROOT) == [
        'skipped 5 x bad value: a.txt: line 0: 0 is bad; a.txt: line 1: 1 is bad; '
        'a.txt: line 2: 2 is bad',
        'skipped 1 x box degenerate: b.txt: line 1: has no area',
    ]
    with pytest.raises(DatasetError, match=r'b\.txt: line 1: has no area'):
        refuse_problems(problems, {'bad value'})


def test_only_errors_are_skipped() -> None:
    for kinds in SKIPPED_KINDS.values():
        assert all(SEVERITIES[kind] == 'error' for kind in kinds)


def test_a_file_that_cannot_be_read_is_a_problem() -> None:
    def read() -> str:
        raise DatasetError(ROOT / 'a.txt', 'no such file')

    problems: list[Problem] = []
    assert try_read('list unreadable', problems, read) is None
    assert problems == [Problem('list unreadable', ROOT / 'a.txt', '', 'no such file')]


def test_problems_of_a_kind_are_limited_for_each_file() -> None:
    problems: list[Problem] = []
    report = report_to(problems, ROOT / 'a.txt')
    for number in range(MAX_PER_FILE + 5):
        report('bad value', f'line {number}', 'is bad')
    report('not finite', 'line 1', 'is infinite')
    assert len(problems) == MAX_PER_FILE + 2
    assert problems[-2].message == f'is bad; the file has {NOT_LISTED}'
    assert problems[-1] == Problem('not finite', ROOT / 'a.txt', 'line 1', 'is infinite')


def test_a_long_class_list_is_shortened() -> None:
    names = [f'class_{number}' for number in range(1000)]
    message = unknown_class(ROOT / 'a.txt', 'object 1', 'Tank', names).message
    assert message.startswith("is of class 'Tank'; available: class_0, class_1, ")
    assert len(message) < 400
