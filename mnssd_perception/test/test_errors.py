"""Tests of the errors: one root, and what each remembers."""

import inspect

from mnssd_perception import errors
from mnssd_perception.errors import (
    BundleError,
    EngineError,
    EngineUnavailableError,
    ImageError,
    MnssdError,
    SettingsError,
    SourceError,
    SpecError,
)
import pytest

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize('kind', ALL)
def test_one_root(kind):
    assert issubclass(kind, MnssdError)
    assert kind.__doc__


@pytest.mark.parametrize('kind', [ImageError, SpecError, SettingsError, EngineError, SourceError])
def test_messages(kind):
    assert str(kind('expected a, got b')) == 'expected a, got b'


def test_a_bundle_error_remembers_the_bundle():
    error = BundleError('here', 'is broken')
    assert str(error) == "bundle 'here': is broken"
    assert error.path == 'here'


def test_an_unavailable_engine_is_an_engine_error_and_remembers_its_name():
    error = EngineUnavailableError('hailo', 'no device')
    assert isinstance(error, EngineError)
    assert str(error) == "engine 'hailo' cannot be used here: no device"
    assert error.engine == 'hailo'


@pytest.mark.parametrize('kind', [MnssdError, SourceError])
def test_secrets_are_masked_in_the_words(kind):
    assert str(kind('cannot open rtsp://user:secret@camera')) == (
        'cannot open rtsp://user:***@camera'
    )


def test_secrets_are_masked_in_a_bundle_error():
    assert 'hush' not in str(BundleError('https://h/b?token=hush', 'cannot read ?key=hush'))
