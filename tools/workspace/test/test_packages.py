"""What an ordinary `colcon build` finds in the repository."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MARKS = {'package.xml', 'setup.py', 'CMakeLists.txt', 'pyproject.toml'}


def test_colcon_finds_exactly_the_three_packages() -> None:
    packages = []
    for folder, folders, files in os.walk(ROOT):
        if 'COLCON_IGNORE' in files:
            folders.clear()
        elif Path(folder) != ROOT and MARKS & set(files):
            packages.append(Path(folder).relative_to(ROOT).as_posix())
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith('.')]
    assert sorted(packages) == ['mnssd_msgs', 'mnssd_perception', 'mnssd_training']
