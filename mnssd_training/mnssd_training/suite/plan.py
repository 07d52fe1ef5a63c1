"""Suite files: which recipes are trained, on which blocks of data, with which seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
import os
from pathlib import Path
from typing import Annotated

from mnssd_perception.text import did_you_mean
from mnssd_training.config import Experiment, fingerprint, load_experiment, shipped_experiments
from mnssd_training.config.compose import compose_section, read_keys
from mnssd_training.config.sections import Section
from mnssd_training.config.validate import validate_section
from mnssd_training.errors import ConfigError
from pydantic import Field, NonNegativeInt

SUITES = Path(__file__).parents[1] / 'config' / 'suites'

ONE_BLOCK: dict[str, tuple[str, ...]] = {'all': ()}

Name = Annotated[str, Field(pattern=r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')]
Overrides = tuple[str, ...]


class Recipe(Section):
    """One way to train; a row of the table."""

    experiment: str = ''
    """Experiment, by name or path; empty for that of the suite."""
    overrides: Overrides = ()
    """Changes to the experiment, ``key.path=value`` as on the command line."""


class Suite(Section):
    """
    Trainings to compare: each recipe on each block with each seed.

    Later overrides win: those of the suite, the block, the recipe, the seed, the command line.
    """

    experiment: str = Field(min_length=1)
    """Experiment of all recipes, by name or path, relative to the folder of the file."""
    overrides: Overrides = ()
    """Changes to the experiment, for all runs."""
    recipes: dict[Name, Recipe] = Field(min_length=1)
    """Recipes by name; the others are compared with the first, the control."""
    blocks: dict[Name, Overrides] = Field(default_factory=dict)
    """Changes by block of a cross-validation, such as its image lists; none for one block."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(1337,), min_length=1)
    """Seeds of each recipe on each block."""
    classes: tuple[str, ...] = ()
    """Classes of the first mean in the table; empty for all."""


@dataclass(frozen=True)
class SuiteRun:
    """
    One training of a suite.

    :ivar arguments: of ``mnssd train``: the experiment and its overrides.
    :ivar folder: its run folder, which no other training has: it ends with the fingerprint.
    """

    recipe: str
    block: str
    seed: int
    arguments: tuple[str, ...]
    experiment: Experiment
    folder: Path

    @property
    def name(self) -> str:
        """Name the run in messages."""
        return f'{self.recipe}_{self.block}_{self.seed}'


def shipped_suites() -> tuple[str, ...]:
    """List the names of the shipped suites."""
    return tuple(sorted(path.stem for path in SUITES.glob('*.yaml')))


def load_suite(source: str) -> tuple[Path, Suite]:
    """
    Read a suite, and return the path of its file too.

    :param source: a YAML file, or the name of a shipped suite.
    :raises ConfigError: with all problems, naming file, line and key.
    """
    path = SUITES / f'{source}.yaml' if source in shipped_suites() else Path(source)
    if not os.path.isfile(path):  # noqa: PTH113 - pathlib raises for an impossible name
        hint = did_you_mean(source, shipped_suites())
        raise ConfigError(f'no such suite {source[:200]!r}; {hint}')
    keys = read_keys(path, os.environ)
    return path, validate_section(compose_section(Suite, [keys]), Suite)


def plan_runs(
    path: Path, suite: Suite, output: Path, overrides: Sequence[str] = ()
) -> tuple[SuiteRun, ...]:
    """
    List the runs of a suite; all recipes of a seed and block come before the next.

    :param path: of the suite, whose folder the paths of its experiments are relative to.
    :param output: folder of the run folders.
    :param overrides: further changes to all runs.
    :raises ConfigError: naming the run whose experiment is invalid.
    """
    runs = []
    for seed, (block, changes), (name, recipe) in product(
        dict.fromkeys(suite.seeds), (suite.blocks or ONE_BLOCK).items(), suite.recipes.items()
    ):
        experiment_name = recipe.experiment or suite.experiment
        if experiment_name not in shipped_experiments():
            experiment_name = str(path.parent / experiment_name)
        arguments = (
            experiment_name,
            *suite.overrides,
            *changes,
            *recipe.overrides,
            f'training.seed={seed}',
            *overrides,
        )
        try:
            experiment = load_experiment(experiment_name, arguments[1:])
        except ConfigError as error:
            raise ConfigError(f'recipe {name}, block {block}: {error}') from error
        folder = output / f'{name}_{block}_{seed}_{fingerprint(experiment)}'
        runs.append(SuiteRun(name, block, seed, arguments, experiment, folder))
    return tuple(runs)
