"""
Write the diagrams and the import tables of ``docs/architecture.md``.

``python tools/import_graph.py`` reads the imports of both packages and the table in
``mnssd_perception/test/test_layers.py``, and replaces the generated sections of the page; a test
checks that they are up to date.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'architecture.md'
TABLE = ROOT / 'mnssd_perception' / 'test' / 'test_layers.py'
PACKAGES = ('mnssd_perception', 'mnssd_training')

Graph = dict[str, set[str]]  # unit (folder or module of a package) -> units that it imports


def read_layers() -> dict[str, Graph]:
    """Read the imports that the test of the layers allows."""
    for node in ast.parse(TABLE.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'LAYERS':
            return ast.literal_eval(node.value)
    raise KeyError(f'{TABLE}: expected an assignment to LAYERS')


def read_imports(package: str, of_package: str) -> Graph:
    """Return the units of ``of_package`` that each unit of ``package`` imports."""
    folder = ROOT / package / package
    graph: Graph = {}
    for path in sorted(folder.rglob('*.py')):
        unit = path.relative_to(folder).parts[0].removesuffix('.py')
        if unit != '__init__':
            graph.setdefault(unit, set()).update(_imported_units(path, of_package) - {unit})
    return graph


def _imported_units(path: Path, package: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    units = {name.split('.')[1] for name in names if name.startswith(f'{package}.')}
    folder = ROOT / package / package
    return {u for u in units if (folder / u).is_dir() or (folder / f'{u}.py').is_file()}


def reduce_graph(graph: Graph) -> Graph:
    """Remove the edges of an acyclic graph that follow from others."""

    def reachable(unit: str) -> Iterator[str]:
        for imported in graph.get(unit, ()):
            yield imported
            yield from reachable(imported)

    return {
        unit: imported - {other for middle in imported for other in reachable(middle)}
        for unit, imported in graph.items()
    }


def draw_diagram(package: str) -> str:
    """Draw the units of a package in Mermaid; an arrow points to what a unit imports."""
    lines = ['```mermaid', 'flowchart LR']
    graph = reduce_graph(read_imports(package, package))
    targets = set().union(*graph.values())
    for unit, imported in sorted(graph.items()):
        lines += [f'    {unit} --> {other}' for other in sorted(imported)]
        if not imported and unit not in targets:
            lines.append(f'    {unit}')
    return '\n'.join([*lines, '```'])


def write_import_table(package: str) -> str:
    """Write what each unit provides and may import, and what training imports of perception."""
    columns = ['unit', 'provides', 'may import']
    from_perception: Graph = {}
    if package != PACKAGES[0]:
        columns.append('imports of perception')
        from_perception = read_imports(package, PACKAGES[0])
    table = f'| {" | ".join(columns)} |\n' + '|---' * len(columns) + '|'
    for unit, allowed in sorted(read_layers()[package].items()):
        cells = [f'`{unit}`', _summarize(package, unit), _join(allowed)]
        if from_perception:
            cells.append(_join(from_perception.get(unit, set())))
        table += f'\n| {" | ".join(cells)} |'
    return table


def _join(units: set[str]) -> str:
    return ', '.join(f'`{unit}`' for unit in sorted(units))


def _summarize(package: str, unit: str) -> str:
    """Return the first sentence of the docstring of a unit."""
    path = ROOT / package / package / unit
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    sentence = ' '.join(docstring.partition('\n\n')[0].split()).replace('|', r'\|')
    return re.sub(r':\w+:`~?([\w.]+)`', r'`\1`', sentence).replace('``', '`')


def update_page(text: str) -> str:
    """Replace the generated sections of the page."""
    for package in PACKAGES:
        for name, make in (('diagram', draw_diagram), ('table', write_import_table)):
            begin, end = (f'<!-- {edge} {name} of {package} -->' for edge in ('begin', 'end'))
            before, _, remainder = text.partition(begin)
            _, marker, after = remainder.partition(end)
            if not marker:
                raise ValueError(f'{PAGE}: expected {begin} and {end}')
            text = f'{before}{begin}\n{make(package)}\n{end}{after}'
    return text


if __name__ == '__main__':
    PAGE.write_text(update_page(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
