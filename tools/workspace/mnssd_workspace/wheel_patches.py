"""CMake files that name the machine where a wheel was built to ones that name this machine."""

from __future__ import annotations

from pathlib import Path
import re

__all__ = ['patch_cmake_files', 'patch_text']

_INCLUDE = re.compile(r'/opt/[^\s";)]*/include/python3\.\d+t?')
_SITE = re.compile(r'/opt/[^\s";)]*/lib/python3\.\d+t?/site-packages')


def patch_text(text: str, include: Path, site: Path) -> str:
    """
    Replace the folders of Python's and NumPy's headers; what is right already stays.

    :param text: of a CMake file.
    :param include: folder of Python.h here.
    :param site: folder of the installed Python packages here.
    """
    text = _INCLUDE.sub(lambda _: str(include), text)
    return _SITE.sub(lambda _: str(site), text)


def patch_cmake_files(share: Path, include: Path, site: Path) -> int:
    """
    Patch every CMake file of the installed ROS packages.

    :param share: folder of the packages' shared files.
    :param include: folder of Python.h here.
    :param site: folder of the installed Python packages here.
    :return: number of changed files.
    """
    changed = 0
    for path in share.glob('*/cmake/*.cmake'):
        before = path.read_text()
        if '/opt/' not in before:
            continue
        after = patch_text(before, include, site)
        if after != before:
            patched = path.with_suffix('.patched')
            patched.write_text(after)
            patched.replace(path)
            changed += 1
    return changed
