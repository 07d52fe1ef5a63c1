"""The constraints file: complete pins in known groups, and the hashes of each."""

from pathlib import Path

from mnssd_workspace.errors import WorkspaceError
from mnssd_workspace.pins import Pin, read_hashes, read_pins
import pytest

WORKSPACE = Path(__file__).resolve().parents[1]
DIGESTS = ('sha256:' + '0' * 64, 'sha256:' + 'a' * 64)
LOCK = f"""# written by `make lock`
numpy==2.0 ; python_full_version < '3.11' \\
    --hash={DIGESTS[0]} \\
    --hash={DIGESTS[1]}
empy==3.3.4
"""


def read_shipped() -> dict[str, tuple[Pin, ...]]:
    return read_pins(WORKSPACE / 'constraints.txt', WORKSPACE / 'requirements.lock')


def write(tmp_path: Path, pins: str, lock: str = LOCK) -> tuple[Path, Path]:
    paths = tmp_path / 'constraints.txt', tmp_path / 'requirements.lock'
    for path, text in zip(paths, (pins, lock)):
        path.write_text(text)
    return paths


def test_empty_files_have_no_groups(tmp_path: Path) -> None:
    assert read_pins(*write(tmp_path, '', '')) == {}


def test_shipped_files_can_be_read() -> None:
    groups = read_shipped()
    assert list(groups) == ['system', 'ros', 'runtime', 'develop', 'training']
    everywhere = [pin.name for pins in groups.values() for pin in pins if ';' not in pin.line]
    assert len(everywhere) == len(set(everywhere))


def test_lock_holds_nothing_but_what_is_pinned() -> None:
    pinned = [pin.line.split(';')[0].strip() for pins in read_shipped().values() for pin in pins]
    assert sorted(read_hashes(WORKSPACE / 'requirements.lock')) == sorted(set(pinned))


def test_torch_is_in_training_alone() -> None:
    groups = read_shipped()
    holders = [name for name, pins in groups.items() for pin in pins if pin.name == 'torch']
    assert holders == ['training']
    nvidia = [
        name for name, pins in groups.items() for pin in pins if pin.name.startswith('nvidia')
    ]
    assert set(nvidia) == {'training'}


def test_requirement_has_the_marker_and_every_hash(tmp_path: Path) -> None:
    line = "numpy==2.0 ; python_version < '3.11'"
    groups = read_pins(*write(tmp_path, f'# [system]\n{line}\n'))
    (pin,) = groups['system']
    assert pin == Pin('numpy', line, DIGESTS)
    assert pin.requirement == f'{line} --hash={DIGESTS[0]} --hash={DIGESTS[1]}'


@pytest.mark.parametrize('line', ['numpy==2.1', 'empy==3.3.4', 'opencv==2.0'])
def test_pin_without_a_hash_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(WorkspaceError, match=f'a hash of {line} .*make lock'):
        read_pins(*write(tmp_path, f'# [system]\n{line}\n'))


@pytest.mark.parametrize('line', ['numpy', 'numpy>=2', 'numpy==2 --hash', 'NumPy==2.0', '-r x'])
def test_anything_but_an_exact_pin_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(WorkspaceError, match='line 2'):
        read_pins(*write(tmp_path, f'# [system] words\n{line}\n'))


def test_pin_without_a_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match='under a group'):
        read_pins(*write(tmp_path, '# no group\nnumpy==2.0\n'))
