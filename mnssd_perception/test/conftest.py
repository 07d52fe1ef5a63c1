"""Fixtures of several folders of tests."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import subprocess
import sys

import pytest


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
