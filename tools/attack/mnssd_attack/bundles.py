"""Bundles that were damaged or forged: archives, and directories."""

import os
import shutil
import struct
import warnings
import zipfile

from mnssd_perception.bundle import open_bundle
import numpy as np

from mnssd_attack.spoil import spoil
from mnssd_attack.target import Target

__all__ = ['attack_archive', 'attack_directory']

NAMES = (
    '../out', '/out', '..\\out', 'C:\\out', 'a/../../out', './out', '.', 'extra', 'MANIFEST.JSON',
    'x' * 60_000, 'a\nb', '\u202eonx', 'golden/', 'golden', '//out',
)  # fmt: skip
MODES = (0o120777, 0o010644, 0o020666, 0o060666, 0o140777, 0o040755, 0o100644, 0o177777)


def attack_archive(target: Target, generator: np.random.Generator) -> None:
    """
    Open an archive that was damaged or forged.

    :param target: what is attacked.
    :param generator: of the damage.
    """
    way = generator.choice(['bytes', 'bytes', 'fields', 'members', 'files'])
    if way == 'members':
        _forge_members(target, generator)
    elif way == 'files':
        target.write_archive(_spoilt_files(target, generator))
    else:
        target.write_archive(target.members)
        data = target.place.read_bytes()
        data = spoil(data, generator) if way == 'bytes' else _spoil_field(data, generator)
        target.place.write_bytes(data)
    open_bundle(target.place)


def attack_directory(target: Target, generator: np.random.Generator) -> None:
    """
    Open a directory that was damaged or forged.

    :param target: what is attacked.
    :param generator: of the damage.
    """
    target.place.unlink(missing_ok=True)
    try:
        for name, content in _spoilt_files(target, generator).items():
            (target.place / name).parent.mkdir(parents=True, exist_ok=True)
            (target.place / name).write_bytes(content)
        victim = target.place / str(generator.choice([*target.members, 'extra', 'golden']))
        way = generator.choice(['', 'remove', 'link', 'loop', 'pipe', 'folder', 'name', 'deep'])
        if way in ('remove', 'link', 'loop', 'pipe', 'folder'):
            if victim.is_dir():
                shutil.rmtree(victim)
            victim.unlink(missing_ok=True)
        victim.parent.mkdir(exist_ok=True)
        if way in ('link', 'loop'):
            victim.symlink_to('/dev/zero' if way == 'link' else victim)
        elif way == 'pipe':
            os.mkfifo(victim)
        elif way == 'folder':
            victim.mkdir()
        elif way == 'name':
            (target.place / os.fsdecode(b'\xff' + generator.bytes(8).hex().encode())).touch()
        elif way == 'deep':
            (target.place / '/'.join('d' * 300)).mkdir(parents=True)
        open_bundle(target.place)
    finally:
        shutil.rmtree(target.place, ignore_errors=True)


def _spoilt_files(target: Target, generator: np.random.Generator) -> dict[str, bytes]:
    """Damage, drop, exchange or add a file, or leave them all."""
    files = dict(target.members)
    one, two = (str(name) for name in generator.choice(list(files), 2))
    way = generator.choice(['spoil', 'spoil', 'drop', 'exchange', 'add', 'none'])
    if way == 'spoil':
        files[one] = spoil(files[one], generator)
    elif way == 'drop':
        del files[one]
    elif way == 'exchange':
        files[one], files[two] = files[two], files[one]
    elif way == 'add':
        files['extra'] = b''
    return files


def _forge_members(target: Target, generator: np.random.Generator) -> None:
    """Write an archive with a member that should not be there."""
    packings = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    packing = packings[int(generator.integers(0, len(packings)))]
    name = str(generator.choice([*NAMES, *target.members]))
    member = zipfile.ZipInfo(name)
    member.external_attr = int(generator.choice(MODES)) << 16
    content = generator.choice([b'', b'/etc/passwd', bytes(1 << 22), target.members['card.md']])
    with warnings.catch_warnings(), zipfile.ZipFile(target.place, 'w', packing) as archive:
        warnings.simplefilter('ignore')  # it may be there twice, which is the point
        for sound, data in target.members.items():
            archive.writestr(sound, data)
        archive.writestr(member, bytes(content), packing)


def _spoil_field(data: bytes, generator: np.random.Generator) -> bytes:
    """Change one number in a header of an archive."""
    signatures = [b'PK\x01\x02', b'PK\x03\x04', b'PK\x05\x06']
    signature = signatures[int(generator.integers(0, len(signatures)))]
    places = [at for at in range(len(data)) if data.startswith(signature, at)]
    place = int(generator.choice(places)) + int(generator.integers(4, 46))
    value = int(generator.choice([0, 1, 8, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
    spoilt = bytearray(data) + bytearray(50)
    struct.pack_into('<I' if value > 0xFFFF else '<H', spoilt, place, value)
    return bytes(spoilt[: len(data)])
