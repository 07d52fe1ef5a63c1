"""The command ``mnssd config``: show, check and describe experiments."""

from argparse import Namespace
from collections.abc import Sequence
import json
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import command, make_parser, write_file
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.config import (
    find_origins,
    fingerprint,
    format_experiment,
    json_schema,
    load_experiment,
    shipped_experiments,
    summarize_experiment,
)
from mnssd_training.errors import ConfigError
from pydantic_core import to_jsonable_python

EXAMPLES = """\
  mnssd config show                           list the shipped experiments
  mnssd config show hit_uav training.epochs=3 show all keys and who set them
  mnssd config check my/*.yaml                list all errors in some files
  mnssd config schema --output schema.json    for an editor; first line of an experiment file then:
      # yaml-language-server: $schema=schema.json
"""


def _show(args: Namespace) -> None:
    if args.experiment is None:
        for name in shipped_experiments():
            print(f'{name:<14}{summarize_experiment(name)}')
        return
    experiment = read_experiment(args)
    text = f'# fingerprint {fingerprint(experiment)}\n{format_experiment(experiment)}'
    if args.json:
        plain = {
            'fingerprint': fingerprint(experiment),
            'experiment': to_jsonable_python(experiment),
            'origins': find_origins(experiment),
        }
        text = json.dumps(plain, indent=2)
    _print(mask_secrets(text.rstrip()))


def _check(args: Namespace) -> None:
    num_invalid = 0
    for file in args.files:
        try:
            load_experiment(file)
            _print(f'{file}: valid')
        except ConfigError as error:
            num_invalid += 1
            _print(f'{file}: invalid')
            for problem in getattr(error, 'problems', (str(error),)):
                _print(f'  {" ".join(problem.split())}')
    if num_invalid:
        raise ConfigError(f'{num_invalid} of {len(args.files)} experiments are invalid')


def _schema(args: Namespace) -> None:
    text = json.dumps(json_schema(), indent=2)
    if args.output is None:
        print(text)
        return
    write_file(args.output, f'{text}\n')
    print(f'# yaml-language-server: $schema={args.output.resolve()}')


def _print(text: str) -> None:
    """Print a text that may contain a file name that is not valid UTF-8."""
    print(text.encode(errors='backslashreplace').decode())


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Show, check and describe experiments."""
    parser = make_parser('config', main.__doc__, EXAMPLES)
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    show = actions.add_parser('show', help='show an experiment and who set each key')
    add_experiment(show, is_optional=True)
    show.add_argument('--json', action='store_true', help='print JSON')
    show.set_defaults(run=_show)
    check = actions.add_parser('check', help='list all errors in some files')
    check.add_argument('files', nargs='+', metavar='FILE', help='a YAML file or a name')
    check.set_defaults(run=_check)
    schema = actions.add_parser('schema', help='print the JSON schema of experiment files')
    schema.add_argument('--output', type=Path, help='file to write (default: print)')
    schema.set_defaults(run=_schema)
    args = parser.parse_args(arguments)
    args.run(args)
