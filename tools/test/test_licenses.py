"""Where the licence of a distribution is read, and which licences are refused."""

from email.message import Message
from pathlib import Path
from typing import Any

from licenses import is_refused, read_license
import pytest


class FakeDistribution:
    """A distribution with some metadata."""

    version = '1.0'

    def __init__(self, **fields: Any) -> None:
        self.metadata = Message()
        self.metadata['Name'] = fields.pop('name', 'thing')
        for key, value in fields.items():
            for item in [value] if isinstance(value, str) else value:
                self.metadata[key.replace('_', '-')] = item


@pytest.mark.parametrize(
    ('fields', 'expected'),
    [
        ({}, ''),
        ({'License_Expression': 'MIT', 'License': 'GPL'}, 'MIT'),
        ({'License': 'MIT\nand two pages more'}, 'MIT'),
        (
            {'Classifier': ['License :: OSI Approved :: BSD License', 'Framework :: X']},
            'BSD License',
        ),
        ({'name': 'ros-std-msgs', 'License': 'unknown'}, 'Apache-2.0 AND BSD'),
        ({'name': 'ros-none'}, ''),
    ],
)
def test_first_field_with_a_licence_counts(
    tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    manifest = tmp_path / 'std_msgs' / 'package.xml'
    manifest.parent.mkdir()
    manifest.write_text('<package><license>Apache-2.0</license><license>BSD</license></package>')
    package: Any = FakeDistribution(**fields)
    assert read_license(package, tmp_path) == expected


@pytest.mark.parametrize(
    'name',
    ['', 'GPL-3.0-only', 'AGPL-3.0', 'GNU Affero General Public License v3', 'MIT AND GPL-2.0',
     'GNU General Public License v2 (GPLv2)', 'GPLv3 OR AGPL-3.0'],
)  # fmt: skip
def test_gpl_and_unknown_licences_are_refused(name: str) -> None:
    assert is_refused(name)


@pytest.mark.parametrize(
    'name',
    ['MIT', 'LGPL-2.1-or-later', 'GNU Lesser General Public License v3 (LGPLv3)',
     'Public Domain OR BSD License OR GNU General Public License (GPL)',
     'GPL-3.0 WITH GCC-exception-3.1'],
)  # fmt: skip
def test_lgpl_and_other_choices_are_permitted(name: str) -> None:
    assert not is_refused(name)
