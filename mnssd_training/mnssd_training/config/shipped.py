"""The folders of this package to the names of the experiments and components in them."""

from itertools import takewhile
from pathlib import Path

EXPERIMENTS = Path(__file__).parent / 'experiments'
COMPONENTS = Path(__file__).parent / 'components'


def shipped_experiments() -> tuple[str, ...]:
    """List the experiments that come with mnssd."""
    return tuple(sorted(path.stem for path in EXPERIMENTS.glob('*.yaml')))


def purpose(name: str) -> str:
    """Read what a shipped experiment is for: the first sentence of its file."""
    lines = (EXPERIMENTS / f'{name}.yaml').read_text(encoding='utf-8').splitlines()
    comment = ' '.join(line[2:] for line in takewhile(lambda line: line.startswith('#'), lines))
    return f'{comment.partition(". ")[0].rstrip(".")}.'


def shipped_components() -> tuple[str, ...]:
    """List the components that come with mnssd, as ``defaults`` names them."""
    return tuple(
        sorted(path.relative_to(COMPONENTS).as_posix() for path in COMPONENTS.glob('*/*.yaml'))
    )


def label(path: Path) -> str:
    """Name a file for people: what comes with mnssd without the folder it is installed in."""
    for folder in (EXPERIMENTS, COMPONENTS):
        if folder in path.parents:
            return path.relative_to(folder).as_posix()
    return str(path)
