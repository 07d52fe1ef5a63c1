"""Fixtures of several folders of tests."""

from collections.abc import Callable, Iterator
from dataclasses import replace
import os
from pathlib import Path
import subprocess
import sys

from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    open_bundle,
    shipped_bundle_path,
    write_bundle,
)
import pytest


@pytest.fixture(scope='session')
def fp32_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with its float32 network alone, as the bundles of schema 1 were."""
    shipped = open_bundle(shipped_bundle_path())
    (network,) = (
        item.path
        for item in shipped.manifest.artefacts
        if (item.engine, item.precision, item.has_batch) == ('onnxruntime', 'fp32', False)
    )
    others = {item.path for item in shipped.manifest.artefacts} - {network}
    files = {
        entry.path: shipped.read(entry.path)
        for entry in shipped.manifest.files
        if entry.path not in others
    }
    path = tmp_path_factory.mktemp('fp32') / 'fp32.mnssd'
    manifest = replace(
        shipped.manifest,
        schema=1,
        artefacts=(Artefact(network, 'onnxruntime', 'fp32'),),
        files=file_entries(files),
    )
    write_bundle(path, manifest, files)
    return path


@pytest.fixture
def start_process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable]:
    """Start Python with some arguments, in the ROS domain of the test file, its DOMAIN."""
    started = []

    def start(*arguments: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen:
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
            'ROS_DOMAIN_ID': str(request.module.DOMAIN),
            'ROS_LOG_DIR': str(tmp_path),
            'RCUTILS_LOGGING_BUFFERED_STREAM': '0',
        }
        started.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        )
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()
