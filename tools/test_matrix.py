"""
Run the tests that need no ROS 2 on older and newer NumPy, OpenCV and ONNX Runtime.

uv makes an environment for each row outside the repository. A row whose Python is not installed is
skipped; the table at the end lists the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOOLS = (
    'hypothesis', 'packaging', 'pillow', 'pytest', 'pytest-timeout', 'pytest-xdist', 'pyyaml',
    'setuptools',
)  # fmt: skip


class Row(NamedTuple):
    """The versions of one environment, and the system that they come from."""

    python: str
    numpy: str
    opencv: str
    onnxruntime: str
    system: str


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
    """Find an interpreter of a version such as 3.10, on the PATH or installed by uv or pyenv."""
    root = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    if installed := sorted(root.glob(f'versions/{version}.*/bin/python')):
        return installed[-1]
    command = ['uv', 'python', 'find', '--no-python-downloads', '--system', version]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(result.stdout.strip()) if result.returncode == 0 else None


def run_row(row: Row, python: Path, pytest_arguments: Sequence[str]) -> str:
    """Run the tests in a new environment; return the last line of pytest, or what failed."""
    with tempfile.TemporaryDirectory(prefix='mnssd_matrix_') as folder:
        venv, pins = Path(folder, 'venv'), Path(folder, 'pins.txt')
        pins.write_text(
            f'numpy=={row.numpy}\nopencv-python-headless=={row.opencv}\n'
            f'onnxruntime=={row.onnxruntime}\n'
        )
        # Overrides: ONNX Runtime asks for NumPy 1.21.6, and runs on the 1.21.5 of Ubuntu 22.04.
        install = ['uv', 'pip', 'install', '--quiet', '--python', venv, '--override', pins]
        for command in (
            ['uv', 'venv', '--quiet', '--python', python, venv],
            [*install, '--requirement', pins, *TOOLS],
        ):
            if subprocess.run(command, check=False).returncode:
                return 'FAILED to install'
        # The packages of the workspace must not be found.
        hidden = ('PYTHONPATH', 'PYTHONHOME', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH')
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        env['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'
        # Two workers: a crash of a library ends one test instead of all.
        options = ['-q', '-n', '2', '--dist', 'load', '--tb=short', '-m', 'not slow']
        options += ['-p', 'timeout', '-p', 'xdist', '-p', 'no:cacheprovider', *pytest_arguments]
        command = [venv / 'bin/python', '-m', 'pytest', *options, 'mnssd_perception/test']
        last_line = ''
        with subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                sys.stdout.write(line)
                last_line = line.strip() or last_line
        return last_line if process.returncode == 0 else f'FAILED: {last_line}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--python', help='only the rows of this Python')
    options, pytest_arguments = parser.parse_known_args(arguments)
    results: list[tuple[Row, str]] = []
    for row in ROWS:
        if options.python in (None, row.python):
            print(f'\n== {row}', flush=True)
            result = 'skipped: Python is not installed'
            if python := find_python(row.python):
                result = run_row(row, python, pytest_arguments)
            results.append((row, result))
    print()
    for row, result in [(Row('Python', 'NumPy', 'OpenCV', 'ORT', 'as in'), 'result'), *results]:
        versions = ' '.join(f'{version:<9}' for version in row[:4])
        print(versions, row.system, '|', result)
    return 1 if any(result.startswith('FAILED') for _, result in results) else 0


if __name__ == '__main__':
    sys.exit(main())
