"""Each package's `__all__` against the names that it has."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('mnssd_perception', 'mnssd_training')
INITS = sorted(
    path for package in PACKAGES for path in (ROOT / package / package).rglob('__init__.py')
)


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
        if any(isinstance(target, ast.Name) and target.id == '__all__' for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def public_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith('_')}


@pytest.mark.parametrize('path', INITS, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_all_is_sorted_and_complete(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = listed(tree)
    assert names is not None, 'expected an __all__'
    # Sorted without regard to case, as the imports are.
    assert names == sorted(names, key=str.lower)
    assert set(names) == public_names(tree)


@pytest.mark.parametrize('package', PACKAGES)
def test_every_folder_of_modules_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package / package).rglob('*.py')}
    assert [folder for folder in folders if not (folder / '__init__.py').is_file()] == []
