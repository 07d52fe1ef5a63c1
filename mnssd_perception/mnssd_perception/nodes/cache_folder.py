"""Locate the cache folder."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """
    Return the folder for cached files, after the XDG base directory specification.

    :return: the folder, which need not exist; None for a user without a home folder.
    """
    configured = os.environ.get('XDG_CACHE_HOME', '')
    if Path(configured).is_absolute():  # the specification ignores relative paths
        return Path(configured) / 'mnssd'
    try:
        return Path.home() / '.cache' / 'mnssd'
    except RuntimeError:
        return None
