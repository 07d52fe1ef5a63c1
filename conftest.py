"""
Imports the packages before pytest does.

A test's module is named by its path, so that pytest would make the folder ``mnssd_perception``,
which holds the package of that name, a package itself, and hide the real one.
"""

from collections.abc import Iterator
import os

from hypothesis import settings
import mnssd_perception  # noqa: F401
import mnssd_training  # noqa: F401
import pytest

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')  # tests import ONNX Runtime by themselves too
# No test depends on the speed of the machine.
settings.register_profile('mnssd', deadline=None)
settings.load_profile('mnssd')


@pytest.fixture(autouse=True, scope='session')
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what nodes cache out of the home of the user, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield
