"""Files of torch with checksums: no changed byte goes unnoticed."""

import io
from pathlib import Path
import zipfile

from mnssd_training.errors import CheckpointError, DamagedCheckpointError
from mnssd_training.torch_file import check_integrity, dump_torch, load_torch
import pytest
import torch

CONTENT = {'weights': torch.arange(100.0), 'step': 7}


def equal(one: object) -> bool:
    """Tell whether this is what was written."""
    return (
        isinstance(one, dict)
        and one.keys() == CONTENT.keys()
        and one['step'] == 7
        and torch.equal(one['weights'], CONTENT['weights'])
    )


def without_digest() -> bytes:
    """Write as torch and older versions of mnssd do."""
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer)
    return buffer.getvalue()


def test_empty_content_and_empty_file() -> None:
    assert load_torch(dump_torch({}), 'name') == {}
    with pytest.raises(DamagedCheckpointError, match='name: damaged: not a file of torch, or cut'):
        load_torch(b'', 'name')


def test_files_can_be_read_by_torch_and_zipfile(tmp_path: Path) -> None:
    path = tmp_path / 'file.pt'
    path.write_bytes(dump_torch(CONTENT))
    assert equal(load_torch(path.read_bytes(), path))
    assert torch.equal(torch.load(path, weights_only=True)['weights'], CONTENT['weights'])
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b'mnssd sha256:')


def test_a_flipped_bit_in_any_byte_is_refused() -> None:
    encoded = dump_torch(CONTENT)
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 1 << position % 8
        with pytest.raises(DamagedCheckpointError):
            load_torch(bytes(changed), 'name')


def test_without_a_digest_a_flipped_bit_never_changes_the_content() -> None:
    encoded, num_refused = without_digest(), 0
    assert equal(load_torch(encoded, 'name'))
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 1 << position % 8
        try:
            assert equal(load_torch(bytes(changed), 'name'))
        except CheckpointError:
            num_refused += 1
    assert num_refused > 400  # all of the tensor, and more


@pytest.mark.parametrize('size', [64, 512])
def test_a_zeroed_block_never_changes_the_content(size: int) -> None:
    for encoded in (dump_torch(CONTENT), without_digest()):
        for position in range(0, len(encoded), size):
            block = encoded[position : position + size]
            changed = encoded[:position] + bytes(len(block)) + encoded[position + len(block) :]
            if changed == encoded:
                continue
            try:
                assert equal(load_torch(changed, 'name'))
            except CheckpointError:
                continue
            assert encoded == without_digest()  # only there something may be of no account


def test_a_truncated_file_is_refused() -> None:
    encoded = dump_torch(CONTENT)
    for length in (1, 100, len(encoded) // 2, len(encoded) - 77, len(encoded) - 1):
        with pytest.raises(DamagedCheckpointError):
            load_torch(encoded[:length], 'name')


def test_an_intact_file_of_other_content_is_not_called_damaged() -> None:
    buffer = io.BytesIO()
    torch.save({'path': Path('x')}, buffer)  # an object and not data
    with pytest.raises(CheckpointError, match='expected tensors and plain data') as caught:
        load_torch(buffer.getvalue(), 'name')
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_the_format_before_torch_1_6_has_no_checksums() -> None:
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer, _use_new_zipfile_serialization=False)
    assert not check_integrity(buffer.getvalue(), 'name')
    assert equal(load_torch(buffer.getvalue(), 'name'))
