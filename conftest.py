"""
Imports the packages before pytest does.

A test's module is named by its path, so that pytest would make the folder ``mnssd_perception``,
which holds the package of that name, a package itself, and hide the real one.
"""

import mnssd_perception  # noqa: F401
import mnssd_training  # noqa: F401
