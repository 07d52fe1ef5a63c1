"""A file that claims to be a bundle to a verified bundle."""

from dataclasses import dataclass
import hashlib
from importlib import resources
import json
import math
import os
from pathlib import Path
from typing import Any

from mnssd_perception.bundle.manifest import (
    Artefact,
    FileEntry,
    MANIFEST,
    Manifest,
    read_manifest,
)
from mnssd_perception.bundle.storage import open_storage, Storage
from mnssd_perception.errors import BundleError, MnssdError
from mnssd_perception.text import sanitize_text

MAX_REASON = 500  # characters; a message may quote what somebody else has written
MAX_MANIFEST = 1 << 20  # bytes; parsed, it takes up to 50 times as much memory


@dataclass(frozen=True)
class Bundle:
    """
    A bundle whose every file has been checked.

    :ivar path: of the bundle.
    :ivar manifest: what it says of itself.
    :ivar digest: ``sha256:`` and 64 hexadecimal digits over the manifest, which covers all files.
    """

    path: Path
    manifest: Manifest
    digest: str
    _storage: Storage

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.manifest.version

    def artefact(self, engine: str) -> Artefact | None:
        """
        Find the network for an engine.

        :param engine: name of the engine.
        :return: the first of that engine, or None.
        """
        return next((item for item in self.manifest.artefacts if item.engine == engine), None)

    def read(self, path: str) -> bytes:
        """
        Read a file of the bundle and check it once more.

        What is returned is what was checked: a file that was changed since the bundle was opened
        is refused.

        :param path: inside the bundle.
        :return: the content.
        :raises BundleError: if the manifest does not list the file or its digest differs.
        """
        entry = next((entry for entry in self.manifest.files if entry.path == path), None)
        if entry is None:
            raise BundleError(self.path, f"the manifest lists no '{path}'")
        content = self._storage.read(entry.path, entry.size)
        _check_entry(self.path, entry, len(content), hashlib.sha256(content).hexdigest())
        return content


def open_bundle(path: str | os.PathLike[str], digest: str = '') -> Bundle:
    """
    Open a bundle and verify every file in it.

    :param path: a directory or a ``.mnssd`` archive.
    :param digest: the bundle must have this :attr:`Bundle.digest`; empty for any.
    :return: the bundle.
    :raises BundleError: naming what is missing, changed, not announced or wrong.
    """
    place = Path(path)
    try:
        storage = open_storage(place)
        names = storage.names()
        if MANIFEST not in names:
            raise BundleError(place, f"there is no '{MANIFEST}'; is this a bundle?")
        content = storage.read(MANIFEST, MAX_MANIFEST)
        if digest and digest != _digest(content):
            raise BundleError(place, f'expected the digest {digest!r}, got {_digest(content)!r}')
        manifest = _parse(place, content)
        listed = {entry.path for entry in manifest.files}
        if unlisted := sorted(names - listed - {MANIFEST}):
            raise BundleError(place, f'the manifest does not list {unlisted[0]!r}')
        if missing := sorted(listed - names):
            raise BundleError(place, f'{missing[0]!r} is missing')
        total = sum(entry.size for entry in manifest.files)
        if total > storage.max_bytes:
            raise BundleError(
                place,
                f'expected at most {storage.max_bytes} bytes in an archive of this size, the '
                f'manifest announces {total}; a sound one can be packed without compression',
            )
        for entry in manifest.files:
            _verify(storage, entry)
    except OSError as error:
        raise BundleError(place, f'cannot be read: {error.strerror or error}') from error
    return Bundle(place, manifest, _digest(content), storage)


def shipped_bundle_path() -> Path:
    """
    Find the bundle that comes with mnssd.

    :return: its path.
    :raises BundleError: if the installation has none.
    """
    folder = Path(str(resources.files('mnssd_perception'))) / 'assets'
    found = sorted(folder.glob('*.mnssd'))
    if not found:
        raise BundleError(folder, 'no bundle was installed here; name one')
    return found[-1]


def _parse(place: Path, content: bytes) -> Manifest:
    """Read the manifest."""
    try:
        plain = json.loads(
            content,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        return read_manifest(plain)
    except (ValueError, RecursionError) as error:
        reason = sanitize_text(error, MAX_REASON)
        raise BundleError(place, f'{MANIFEST} is not JSON: {reason}') from error
    except MnssdError as error:
        reason = sanitize_text(error, MAX_REASON)
        raise BundleError(place, f'{MANIFEST}: {reason}') from error


def _refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which are not JSON."""
    raise ValueError(f'{name} is no number')


def _finite(text: str) -> float:
    """Refuse numbers that a float cannot hold."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text[:60]} is too large a number')
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: two readers may take different ones."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'key {key!r} is there twice')
        found[key] = value
    return found


def _verify(storage: Storage, entry: FileEntry) -> None:
    """Compare a file with its entry, without holding it in memory."""
    digest, num_bytes = hashlib.sha256(), 0
    for chunk in storage.chunks(entry.path, entry.size):
        digest.update(chunk)
        num_bytes += len(chunk)
    _check_entry(storage.path, entry, num_bytes, digest.hexdigest())


def _check_entry(path: Path, entry: FileEntry, num_bytes: int, hexdigest: str) -> None:
    """Refuse a file that is not what the manifest lists."""
    if num_bytes != entry.size:
        raise BundleError(path, f"'{entry.path}': expected {entry.size} bytes, got {num_bytes}")
    if f'sha256:{hexdigest}' != entry.sha256:
        raise BundleError(path, f"'{entry.path}' was changed: its digest differs")


def _digest(content: bytes) -> str:
    """Name content by its SHA-256."""
    return f'sha256:{hashlib.sha256(content).hexdigest()}'
