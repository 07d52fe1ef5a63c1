"""An experiment file and ``key.path=value`` overrides to one typed value."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mnssd_training.config.compose import compose
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.validate import validate


def load_experiment(
    source: str | Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Experiment:
    """
    Read an experiment.

    :param source: a YAML file, or the name of a shipped experiment.
    :param overrides: ``key.path=value``, the value in YAML; the last one wins.
    :param environment: of ``${VAR}``; None for that of the process.
    :return: the experiment.
    :raises ConfigError: with all that is wrong, one sentence a line, naming file, line and key.
    """
    return validate(compose(source, overrides, environment))
