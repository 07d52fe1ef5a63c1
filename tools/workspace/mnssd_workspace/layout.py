"""A repository's root to the places a workspace has in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ['Layout']


@dataclass(frozen=True)
class Layout:
    """
    Know where everything lies.

    :param root: of the repository.
    """

    root: Path

    @property
    def venv(self) -> Path:
        """Return the virtual environment."""
        return self.root / '.venv'

    @property
    def python(self) -> Path:
        """Return the interpreter of the virtual environment."""
        return self.venv / 'bin' / 'python'

    @property
    def state(self) -> Path:
        """Return the folder of stamps; it goes when the virtual environment goes."""
        return self.venv / '.mnssd'

    @property
    def scratch(self) -> Path:
        """Return the folder for temporary files, on the disk whose free space was checked."""
        return self.state / 'tmp'

    @property
    def activation(self) -> Path:
        """Return the script that a shell sources to work in the workspace."""
        return self.venv / 'mnssd.bash'

    @property
    def launcher(self) -> Path:
        """Return the command ``mnssd``, which needs no sourced script."""
        return self.venv / 'bin' / 'mnssd'

    @property
    def build(self) -> Path:
        """Return colcon's build base."""
        return self.root / 'build'

    @property
    def install(self) -> Path:
        """Return colcon's install base."""
        return self.root / 'install'

    @property
    def log(self) -> Path:
        """Return the folder of logs."""
        return self.root / 'log'

    @property
    def constraints(self) -> Path:
        """Return the file of pinned versions."""
        return self.root / 'tools' / 'workspace' / 'constraints.txt'

    @property
    def lock(self) -> Path:
        """Return the file of the hashes of what is pinned."""
        return self.root / 'tools' / 'workspace' / 'requirements.lock'

    def package(self, name: str) -> Path:
        """
        Return the source folder of a ROS package.

        :param name: of the package.
        """
        folder = 'interfaces/vision_msgs' if name == 'vision_msgs' else name
        return self.root / folder
