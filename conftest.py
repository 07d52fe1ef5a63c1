"""
Import the packages before pytest imports the tests, and set up what all tests share.

pytest names the module of a test by its path. It would take the folder ``mnssd_perception``, which
contains the package of that name, for the package itself.
"""

from collections.abc import Iterator
import os

from hypothesis import settings
import mnssd_perception  # noqa: F401
import mnssd_training  # noqa: F401
import pytest

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')  # tests import ONNX Runtime directly, too
# No test depends on the speed of the machine.
settings.register_profile('mnssd', deadline=None)
settings.load_profile('mnssd')


@pytest.fixture(autouse=True, scope='session')
def _user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep caches out of the home of the user, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield
