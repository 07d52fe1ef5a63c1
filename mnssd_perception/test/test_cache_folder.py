"""Tests of the cache folder."""

from pathlib import Path

from mnssd_perception.files import cache_folder
import pytest


@pytest.mark.parametrize('value', ['', 'relative/path'])
def test_default_is_below_the_home_folder(monkeypatch, value):
    monkeypatch.setenv('XDG_CACHE_HOME', value)
    monkeypatch.setenv('HOME', '/home/somebody')
    assert cache_folder() == Path('/home/somebody/.cache/mnssd')


def test_xdg_cache_home_is_used(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/var/cache/of/somebody')
    assert cache_folder() == Path('/var/cache/of/somebody/mnssd')


def test_user_without_a_home_folder_has_none(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setattr('pathlib.Path.home', homeless)
    assert cache_folder() is None
