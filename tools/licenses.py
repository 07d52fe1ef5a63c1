"""
Write the licences of what `make setup` installs, and refuse the GPL and the AGPL.

Run in the workspace: ``python tools/licenses.py THIRD_PARTY.md``.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distribution, PackageNotFoundError
from pathlib import Path
import re
import sys
from xml.etree import ElementTree

LOCK = Path(__file__).resolve().parent / 'workspace' / 'requirements.lock'
# Of distributions without a licence in their metadata; from the LICENSE files that they contain.
KNOWN = {
    'cuda-toolkit': 'LicenseRef-NVIDIA-Proprietary',  # metadata only: names the nvidia wheels
    'empy': 'LGPL-2.1-or-later',  # builds messages, is not shipped or linked
    'faster-coco-eval': 'Apache-2.0',
    'ros-fastcdr': 'Apache-2.0',
    'ros-fastrtps': 'Apache-2.0',
    'setuptools': 'MIT',
}
TITLE = """\
# Third-party software

The distributions that `make setup` installs on {machine}, with the licences that
they declare. None of them is part of this repository. `make licenses` writes this table, and fails
where a licence is unknown, the GPL or the AGPL.

| distribution | version | licence |
|---|---|---|
"""


def read_license(package: Distribution, share: Path) -> str:
    """
    Read the licence of a distribution, in one line; empty where it declares none.

    The SPDX expression counts first, then the classifiers, the package.xml of a ROS package in
    ``share`` and the free text.
    """
    metadata = package.metadata
    if expression := metadata.get('License-Expression'):
        return expression
    classifiers = metadata.get_all('Classifier', [])
    names = [line.rpartition(' :: ')[2] for line in classifiers if line.startswith('License ::')]
    names = [name for name in names if name not in ('OSI Approved', 'DFSG approved')]
    ros_name = metadata['Name'].removeprefix('ros-').replace('-', '_')
    manifest = share / ros_name / 'package.xml'
    if not names and manifest.is_file():
        elements = ElementTree.parse(manifest).getroot().findall('license')
        return ' AND '.join((element.text or '').strip() for element in elements)
    text = (metadata.get('License') or '').strip().partition('\n')[0]
    return ' OR '.join(names) or text[:80]


def is_refused(license_name: str) -> bool:
    """Check for an unknown licence, or one with only GPL choices; the LGPL is permitted."""
    return all(
        not choice.strip()
        or (
            re.search(r'\bA?GPL|Affero|GNU General Public', choice, re.IGNORECASE)
            and not re.search(r'Lesser|Library|WITH .*exception', choice, re.IGNORECASE)
        )
        for choice in re.split(r'\sOR\s', license_name)
    )


def main(path: Path) -> int:
    """Write the table; return 1 if a licence is refused."""
    rows: list[tuple[str, str, str]] = []
    for name in sorted(set(re.findall(r'^([^\s#=]+)==', LOCK.read_text(), re.MULTILINE))):
        try:
            package = distribution(name)
        except PackageNotFoundError:  # for another Python or machine
            continue
        license_name = KNOWN.get(name) or read_license(package, Path(sys.prefix, 'share'))
        rows.append((name, package.version, license_name))
    machine = f'x86-64 Linux with Python {sys.version_info[0]}.{sys.version_info[1]}'
    table = ''.join(f'| {name} | {version} | {text} |\n' for name, version, text in rows)
    path.write_text(TITLE.format(machine=machine) + table)
    refused = [row for row in rows if is_refused(row[2])]
    for name, version, text in refused:
        print(f'expected a permitted licence of {name} {version}, got {text!r}', file=sys.stderr)
    print(f'{len(rows)} distributions in {path}')
    return int(bool(refused))


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1])))
