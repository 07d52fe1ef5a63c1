"""
Run the tests that need no ROS 2 on older and newer NumPy, OpenCV and ONNX Runtime.

uv makes an environment for each row, outside the repository; a row whose Python is not there is
skipped by name, and the table at the end says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import astuple, dataclass
import os
from pathlib import Path
import subprocess
import sys
import tempfile

ROOT = Path(__file__).resolve().parents[1]
TESTS = ('mnssd_perception/test',)
TOOLS = (
    'hypothesis', 'packaging', 'pillow', 'pytest', 'pytest-timeout', 'pytest-xdist', 'pyyaml',
    'setuptools',
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """
    Name the versions of one environment.

    :param python: for example ``3.10``.
    :param numpy: exact version.
    :param opencv: of opencv-python-headless.
    :param onnxruntime: exact version.
    :param like: where these versions are found together.
    """

    python: str
    numpy: str
    opencv: str
    onnxruntime: str
    like: str


ROWS = (
    Row('3.10', '1.21.5', '4.5.4.60', '1.18.1', 'Ubuntu 22.04, the oldest ONNX Runtime'),
    Row('3.10', '1.21.5', '4.5.4.60', '1.23.2', 'Ubuntu 22.04'),
    Row('3.10', '1.26.4', '4.6.0.66', '1.23.2', 'Ubuntu 22.04 with a newer NumPy'),
    Row('3.11', '1.24.2', '4.6.0.66', '1.18.1', 'Debian 12'),
    Row('3.12', '1.26.4', '4.6.0.66', '1.18.1', 'Ubuntu 24.04, the oldest ONNX Runtime'),
    Row('3.12', '1.26.4', '4.6.0.66', '1.31.1', 'Ubuntu 24.04'),
    Row('3.13', '2.5.5', '5.0.0.93', '1.31.1', 'the latest of each'),
)


def find_python(version: str) -> Path | None:
    """
    Find an interpreter, on the PATH or one that uv or pyenv has installed.

    :param version: for example ``3.10``.
    """
    root = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    installed = sorted(root.glob(f'versions/{version}.*/bin/python'))
    if installed:
        return installed[-1]
    command = ['uv', 'python', 'find', '--no-python-downloads', '--system', version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def run_row(row: Row, python: Path, pytest_arguments: Sequence[str]) -> str:
    """
    Install a row in a new environment and run the tests there.

    :param row: the versions.
    :param python: the interpreter.
    :param pytest_arguments: passed on.
    :return: the last line of pytest, or what failed before.
    """
    with tempfile.TemporaryDirectory(prefix='mnssd_matrix_') as folder:
        environment = Path(folder, 'venv')
        pins = Path(folder, 'pins.txt')
        pins.write_text(
            f'numpy=={row.numpy}\nopencv-python-headless=={row.opencv}\n'
            f'onnxruntime=={row.onnxruntime}\n'
        )
        # Overrides: ONNX Runtime asks for NumPy 1.21.6, and runs on the 1.21.5 of Ubuntu 22.04.
        install = ['uv', 'pip', 'install', '--quiet', '--python', environment / 'bin/python']
        for command in (
            ['uv', 'venv', '--quiet', '--python', python, environment],
            [*install, '--override', pins, '--requirement', pins, *TOOLS],
        ):
            result = subprocess.run(command, check=False)
            if result.returncode:
                return 'FAILED to install'
        variables = {**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}
        # What is installed beside this matrix must not be found from within.
        for name in ('PYTHONPATH', 'PYTHONHOME', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH'):
            variables.pop(name, None)
        # Two workers: a crash of a library ends one test, and not all of them.
        options = ['-q', '-n', '2', '--dist', 'load', '--tb=short', '-m', 'not slow']
        options += ['-p', 'timeout', '-p', 'xdist', '-p', 'no:cacheprovider', *pytest_arguments]
        tests = [environment / 'bin/python', '-m', 'pytest', *options, *TESTS]
        with subprocess.Popen(
            tests, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
        ) as process:
            last = ''
            for line in process.stdout or ():
                sys.stdout.write(line)
                last = line.strip() or last
        return last if process.returncode == 0 else f'FAILED: {last}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--python', help='only the rows of this Python')
    options, pytest_arguments = parser.parse_known_args(arguments)
    results: list[tuple[Row, str]] = []
    for row in ROWS:
        if options.python in (None, row.python):
            print(f'\n== {row}', flush=True)
            python = find_python(row.python)
            result = (
                run_row(row, python, pytest_arguments) if python else 'skipped: no such Python'
            )
            results.append((row, result))
    print()
    for row, result in [(Row('Python', 'NumPy', 'OpenCV', 'ORT', ''), 'result'), *results]:
        print(
            ' '.join(f'{version:<9}' for version in astuple(row)[:4]),
            row.like or 'like',
            '|',
            result,
        )
    return 1 if any(result.startswith('FAILED') for _, result in results) else 0


if __name__ == '__main__':
    sys.exit(main())
