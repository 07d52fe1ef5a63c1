"""
Write and read files of torch so that no damage to the bytes goes unnoticed.

A file of torch is a zip archive, and torch does not check its checksums. :func:`dump_torch`
appends a SHA-256 of all bytes before it as the comment at the end of the archive, which zip
readers, torch included, ignore. In files without one (foreign weights, checkpoints of older
versions) the CRC-32 of each member is checked. The archive also records that it has a digest, so
that damage to the comment does not make a file look like an older one.
"""

import hashlib
import io
import struct
from typing import Any
import zipfile

from mnssd_perception.text import sanitize_text
from mnssd_training.errors import CheckpointError, DamagedCheckpointError
import torch

COMMENT = b'mnssd sha256:'
COMMENT_SIZE = len(COMMENT) + 2 * hashlib.sha256().digest_size
START, END = b'PK\x03\x04', b'PK\x05\x06'  # of a zip archive; the record at its end has 22 bytes
HAS_DIGEST = 'has_digest'


def dump_torch(content: dict[str, Any]) -> bytes:
    """Serialise tensors and plain data to a file that ``torch.load`` reads, with a digest."""
    buffer = io.BytesIO()
    torch.save({**content, HAS_DIGEST: True}, buffer)
    archive = buffer.getvalue()
    if archive[-22:-18] != END or archive[-2:] != b'\0\0':
        raise AssertionError('expected a zip archive without a comment')
    archive = archive[:-2] + struct.pack('<H', COMMENT_SIZE)
    return archive + COMMENT + hashlib.sha256(archive).hexdigest().encode()


def load_torch(encoded: bytes, name: object) -> Any:
    """
    Check the integrity of a file of torch, then load it on the CPU: only data, never code.

    :param name: of the file, for errors.
    :raises DamagedCheckpointError: if the bytes differ from those that were written.
    :raises CheckpointError: if they do not, but hold something else.
    """
    is_checked = check_integrity(encoded, name)
    try:
        content = torch.load(io.BytesIO(encoded), map_location='cpu', weights_only=True)
    except Exception as error:  # torch.load raises any error, depending on the bytes
        if is_checked:
            raise CheckpointError(
                f'{name}: expected tensors and plain data that this version of torch can load'
            ) from error
        raise DamagedCheckpointError(name, 'not a file of torch, or cut short') from error
    if isinstance(content, dict) and content.pop(HAS_DIGEST, False) and not _has_digest(encoded):
        raise DamagedCheckpointError(name, 'the digest at its end is missing')
    return content


def check_integrity(encoded: bytes, name: object) -> bool:
    """
    Check a file of torch against the checksums in it; DamagedCheckpointError if they differ.

    :return: False if it has no checksums, as in the format that torch used before 1.6.
    """
    if _has_digest(encoded):
        digest = hashlib.sha256(memoryview(encoded)[:-COMMENT_SIZE]).hexdigest()
        if not encoded.endswith(digest.encode()):
            raise DamagedCheckpointError(name, 'its bytes differ from the SHA-256 at its end')
        return True
    if not encoded.startswith(START):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(encoded)) as archive:
            member = archive.testzip()
    except Exception as error:  # zipfile raises any error, depending on the bytes
        raise DamagedCheckpointError(name, 'cut short, or not a zip archive') from error
    if member:
        raise DamagedCheckpointError(name, f'the CRC-32 of {sanitize_text(member)} is wrong')
    return True


def _has_digest(encoded: bytes) -> bool:
    return encoded[-COMMENT_SIZE:].startswith(COMMENT)
