"""
Keep what was built from a network on this machine, in files that are verified before use.

Each file holds one line of JSON, which says what the content was made of and for and what its
digest is, and then the content. A file that is damaged or does not fit counts as missing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
import fcntl
import hashlib
import json
import os
from pathlib import Path

from mnssd_perception.files import explain_write_error, write_atomically

MAX_PLANS = 16  # some 10 MB each; the one whose use is longest ago goes first
MAX_HEADER = 1 << 16  # bytes

Key = dict[str, str | int]  # what decides whether content fits: JSON values by name


@dataclass(frozen=True)
class PlanCache:
    """
    A folder of plans and timings.

    Any number of processes may use it: they take turns to build, and files are replaced whole.
    Where it cannot be written, nothing is kept and everything else works.

    :ivar folder: made on first use; None keeps nothing.
    :ivar progress: is told why a file cannot be kept, and for what a build waits.
    """

    folder: Path | None
    progress: Callable[[str], None]

    def path(self, network: str, key: Key) -> Path | None:
        """
        Name the file for a key.

        :param network: what to list together: the first part of the name of the file.
        """
        if self.folder is None:
            return None
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f'{network}-{digest[:16]}.plan'

    def load(self, network: str, key: Key) -> tuple[bytes | None, str]:
        """Load what was stored under a key; None, and why, where it is not there or not sound."""
        path = self.path(network, key)
        if path is None:
            return None, ''
        try:
            content = _read(path, key)
        except FileNotFoundError:
            return None, self._explain_others(network, key)
        except (OSError, ValueError) as error:
            return None, f"'{path}' cannot be used: {error}"
        with suppress(OSError):  # a cache that cannot be written
            os.utime(path)
        return content, ''

    def store(self, network: str, key: Key, content: bytes) -> bool:
        """Store content under a key, and remove the oldest files; say whether that worked."""
        path = self.path(network, key)
        if path is None:
            self.progress('there is no cache folder: the next start builds again')
            return False
        header = {**key, 'sha256': hashlib.sha256(content).hexdigest()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(header).encode() + b'\n' + content)
            self._remove_oldest()
        except OSError as error:
            reason = explain_write_error(error, path, len(content))
            self.progress(f"'{path}' cannot be kept, the next start builds again: {reason}")
            return False
        return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """
        Let one process at a time build.

        The others need not build the same plan again, and do not disturb the timings of this one.
        A lock ends with its process.
        """
        file = None
        try:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = (self.folder / 'lock').open('ab')
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.progress('waiting for another process that builds a plan')
                    fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system that cannot lock or be written: damage is noticed
            pass
        try:
            yield
        finally:
            if file is not None:
                file.close()

    def _explain_others(self, network: str, key: Key) -> str:
        """Say in what the newest file for the same network differs from the key."""
        assert self.folder is not None
        with suppress(OSError, ValueError):
            for path in sorted(self.folder.glob(f'{network}-*.plan'), key=_age)[-1:]:
                stored = _read_header(path.read_bytes())[0]
                differences = (
                    f'{name} {stored.get(name)!r} instead of {value!r}'
                    for name, value in key.items()
                    if stored.get(name) != value
                )
                return f'{path.name} is for {", ".join(differences)}'
        return ''

    def _remove_oldest(self) -> None:
        assert self.folder is not None
        newest_first = sorted(self.folder.glob('*.plan'), key=_age, reverse=True)
        for path in newest_first[MAX_PLANS:]:
            path.unlink(missing_ok=True)


def _read(path: Path, key: Key) -> bytes:
    """
    Read a file and verify it.

    :raises OSError: if it cannot be read.
    :raises ValueError: saying what is wrong with it.
    """
    header, content = _read_header(path.read_bytes())
    digest = header.pop('sha256', None)
    if header != key:
        raise ValueError('it was made for something else')
    if digest != hashlib.sha256(content).hexdigest():
        raise ValueError('its digest differs: it is damaged')
    return content


def _read_header(stored: bytes) -> tuple[Key, bytes]:
    end = stored.find(b'\n', 0, MAX_HEADER)
    if end < 0:
        raise ValueError('it has no header: it is damaged')
    try:
        header = json.loads(stored[:end])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError('its header is damaged')
    return header, stored[end + 1 :]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0
