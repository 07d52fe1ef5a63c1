"""Tests of the folder for cached files."""

from pathlib import Path

from mnssd_perception.nodes.cache_folder import cache_folder
import pytest


@pytest.mark.parametrize('value', ['', 'relative/path'])
def test_below_the_home_by_default(monkeypatch, value):
    monkeypatch.setenv('XDG_CACHE_HOME', value)
    monkeypatch.setenv('HOME', '/home/somebody')
    assert cache_folder() == Path('/home/somebody/.cache/mnssd')


def test_where_xdg_says(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/var/cache/of/somebody')
    assert cache_folder() == Path('/var/cache/of/somebody/mnssd')


def test_a_user_without_a_home_has_none(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setattr('pathlib.Path.home', homeless)
    assert cache_folder() is None
