"""Write bundles."""

from collections.abc import Mapping
from dataclasses import replace
import hashlib
import io
import json
from pathlib import Path
import zipfile

from mnssd_perception.bundle.manifest import FileEntry, MANIFEST, Manifest, manifest_to_plain
from mnssd_perception.errors import BundleError
from mnssd_perception.files import explain_write_error, write_atomically

# One date for all members, so that equal content makes an equal archive.
EPOCH = (1980, 1, 1, 0, 0, 0)


def file_entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """
    List files for a manifest, sorted by path.

    :param files: path inside the bundle to content.
    """
    return tuple(
        FileEntry(path, len(content), f'sha256:{hashlib.sha256(content).hexdigest()}')
        for path, content in sorted(files.items())
    )


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """
    Write a bundle as a zip archive.

    :param path: of the archive; an older one is replaced in one step.
    :param manifest: its list of files is filled in from ``files``.
    :param files: path inside the bundle to content.
    :raises SpecError: if the manifest does not fit the files.
    :raises BundleError: if the manifest holds what JSON cannot, or the file cannot be written; an
        older bundle stays as it was.
    """
    manifest = replace(manifest, files=file_entries(files))
    try:
        text = json.dumps(manifest_to_plain(manifest), indent=1, allow_nan=False) + '\n'
    except (TypeError, ValueError) as error:
        raise BundleError(path, f'{MANIFEST} cannot be JSON: {error}') from error
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in [(MANIFEST, text.encode()), *sorted(files.items())]:
            member = zipfile.ZipInfo(name, EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    try:
        write_atomically(path, packed.getvalue())
    except OSError as error:
        reason = explain_write_error(error, path, len(packed.getvalue()))
        raise BundleError(path, f'cannot be written: {reason}') from error
