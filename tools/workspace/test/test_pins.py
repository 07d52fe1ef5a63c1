"""The constraints file: complete pins in known groups."""

from pathlib import Path

from mnssd_workspace.errors import WorkspaceError
from mnssd_workspace.pins import read_pins
import pytest

CONSTRAINTS = Path(__file__).resolve().parents[1] / 'constraints.txt'


def test_what_is_shipped_can_be_read() -> None:
    groups = read_pins(CONSTRAINTS)
    assert list(groups) == ['system', 'ros', 'runtime', 'develop', 'training']
    everywhere = [pin.name for pins in groups.values() for pin in pins if ';' not in pin.line]
    assert len(everywhere) == len(set(everywhere))


def test_torch_is_in_training_alone() -> None:
    groups = read_pins(CONSTRAINTS)
    holders = [name for name, pins in groups.items() for pin in pins if pin.name == 'torch']
    assert holders == ['training']
    nvidia = [
        name for name, pins in groups.items() for pin in pins if pin.name.startswith('nvidia')
    ]
    assert set(nvidia) == {'training'}


@pytest.mark.parametrize('line', ['numpy', 'numpy>=2', 'numpy==2 --hash', 'NumPy==2.0', '-r x'])
def test_anything_but_an_exact_pin_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / 'constraints.txt'
    path.write_text(f'# [system] words\n{line}\n')
    with pytest.raises(WorkspaceError, match='line 2'):
        read_pins(path)


def test_a_pin_without_a_group_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'constraints.txt'
    path.write_text('# no group\nnumpy==2.0\n')
    with pytest.raises(WorkspaceError, match='under a group'):
        read_pins(path)


def test_an_empty_file_has_no_groups(tmp_path: Path) -> None:
    path = tmp_path / 'constraints.txt'
    path.write_text('')
    assert read_pins(path) == {}
