"""Open bundles, with every file verified."""

from collections.abc import Iterator
from dataclasses import dataclass
import hashlib
from importlib import resources
import io
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

MAX_MANIFEST = 1 << 20  # bytes; parsed, it takes up to 50 times as much memory


@dataclass(frozen=True)
class Bundle:
    """
    A bundle whose every file has been verified.

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

    def artefact(
        self, engine: str, precision: str | None = None, *, has_batch: bool = False
    ) -> Artefact | None:
        """Find the network for an engine; without a precision, the first in the manifest."""
        return next(
            (
                item
                for item in self.manifest.artefacts
                if item.engine == engine
                and precision in (None, item.precision)
                and item.has_batch == has_batch
            ),
            None,
        )

    def read(self, path: str) -> bytes:
        """
        Read a file of the bundle and verify it once more: it may have changed since.

        :param path: inside the bundle.
        :raises BundleError: if the manifest does not list the file or its digest differs.
        """
        entry = next((entry for entry in self.manifest.files if entry.path == path), None)
        if entry is None:
            raise BundleError(self.path, f"the manifest lists no '{path}'")
        content = io.BytesIO()  # joining a list of chunks would hold everything twice
        content.writelines(_verified_chunks(self._storage, entry))
        return content.getvalue()


def open_bundle(path: str | os.PathLike[str], digest: str = '') -> Bundle:
    """
    Open a bundle and verify every file in it.

    :param path: a directory or a ``.mnssd`` archive.
    :param digest: the bundle must have this :attr:`Bundle.digest`; empty for any.
    :raises BundleError: naming what is missing, changed, not listed or wrong.
    """
    path = Path(path)
    try:
        storage = open_storage(path)
        names = storage.names()
        if MANIFEST not in names:
            raise BundleError(path, f"there is no '{MANIFEST}'; is this a bundle?")
        content = b''.join(storage.chunks(MANIFEST, MAX_MANIFEST))
        actual_digest = f'sha256:{hashlib.sha256(content).hexdigest()}'
        if digest and digest != actual_digest:
            raise BundleError(path, f'expected the digest {digest!r}, got {actual_digest!r}')
        manifest = _parse(path, content)
        listed = {entry.path for entry in manifest.files}
        if unlisted := sorted(names - listed - {MANIFEST}):
            raise BundleError(path, f'the manifest does not list {unlisted[0]!r}')
        if missing := sorted(listed - names):
            raise BundleError(path, f'{missing[0]!r} is missing')
        total = sum(entry.size for entry in manifest.files)
        if total > storage.max_bytes:
            raise BundleError(
                path,
                f'expected at most {storage.max_bytes} bytes in an archive of this size, the '
                f'manifest announces {total}; a sound one can be packed without compression',
            )
        for entry in manifest.files:
            for _ in _verified_chunks(storage, entry):
                pass
    except OSError as error:
        raise BundleError(path, f'cannot be read: {error.strerror or error}') from error
    return Bundle(path, manifest, actual_digest, storage)


def shipped_bundle_path() -> Path:
    """
    Find the bundle that comes with mnssd.

    :raises BundleError: if the installation has none.
    """
    folder = Path(str(resources.files('mnssd_perception'))) / 'assets'
    bundles = sorted(folder.glob('*.mnssd'))
    if not bundles:
        raise BundleError(folder, 'no bundle was installed here; name one')
    return bundles[-1]


def _parse(path: Path, content: bytes) -> Manifest:
    try:
        plain = json.loads(
            content,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        return read_manifest(plain)
    except (ValueError, RecursionError) as error:
        raise BundleError(path, f'{MANIFEST} is not JSON: {error}') from error
    except MnssdError as error:
        raise BundleError(path, f'{MANIFEST}: {error}') from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no number')  # NaN and infinities are not JSON


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text[:60]} is too large a number')
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: two readers may take different ones."""
    plain: dict[str, Any] = {}
    for key, value in pairs:
        if key in plain:
            raise ValueError(f'key {key!r} is there twice')
        plain[key] = value
    return plain


def _verified_chunks(storage: Storage, entry: FileEntry) -> Iterator[bytes]:
    """Read a file, and refuse it at its end if it is not the one that the manifest lists."""
    digest, num_bytes = hashlib.sha256(), 0
    for chunk in storage.chunks(entry.path, entry.size):
        digest.update(chunk)
        num_bytes += len(chunk)
        yield chunk
    if num_bytes != entry.size:
        raise BundleError(
            storage.path, f"'{entry.path}': expected {entry.size} bytes, got {num_bytes}"
        )
    if f'sha256:{digest.hexdigest()}' != entry.sha256:
        raise BundleError(storage.path, f"'{entry.path}' was changed: its digest differs")
