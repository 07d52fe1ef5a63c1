"""``config``: experiments shown, checked and described."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
import json
from pathlib import Path
import sys

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.verb import run_verb
from mnssd_training.config import (
    compose,
    draw,
    fingerprint,
    json_schema,
    origins,
    problems,
    purpose,
    shipped_experiments,
    validate,
)
from mnssd_training.errors import ConfigError
from pydantic_core import to_jsonable_python

EPILOG = """\
examples:
  mnssd config show                           the experiments that come with mnssd
  mnssd config show hit_uav training.epochs=3 every key, and who set it
  mnssd config check my/*.yaml                all that is wrong with some files
  mnssd config schema --output schema.json    for an editor; first line of an experiment file then:
      # yaml-language-server: $schema=schema.json
"""


def _show(args: Namespace) -> None:
    """Print an experiment whole, with who set each key."""
    if args.experiment is None:
        for name in shipped_experiments():
            print(f'{name:<14}{purpose(name)}')
        return
    tree = compose(args.experiment, args.overrides)
    experiment = validate(tree)
    if args.json:
        shown = {
            'fingerprint': fingerprint(experiment),
            'experiment': to_jsonable_python(experiment),
            'origins': origins(experiment, tree),
        }
        print(mask_secrets(json.dumps(shown, indent=2)))
        return
    text = f'# fingerprint {fingerprint(experiment)}\n{draw(experiment, tree)}'
    _print(mask_secrets(text.rstrip()))


def _check(args: Namespace) -> None:
    """Print all that is wrong with some files."""
    num_wrong = 0
    for file in args.files:
        try:
            found = problems(compose(file))
        except ConfigError as error:
            found = [str(error)]
        num_wrong += bool(found)
        _print(f'{file}: {"wrong" if found else "fine"}')
        for problem in found:
            _print(f'  {" ".join(problem.split())}')
    if num_wrong:
        raise ConfigError(f'{num_wrong} of {len(args.files)} experiments are wrong')


def _schema(args: Namespace) -> None:
    """Write the JSON schema of experiment files."""
    text = json.dumps(json_schema(), indent=2)
    if args.output is None:
        print(text)
        return
    try:
        args.output.write_text(f'{text}\n')
    except OSError as error:
        raise ConfigError(f'{args.output}: {error.strerror or error}') from error
    print(f'# yaml-language-server: $schema={args.output.resolve()}')


def _print(text: str) -> None:
    """Print a text that may name a file whose name is no text."""
    print(text.encode(errors='backslashreplace').decode())


def _parser() -> ArgumentParser:
    """Describe the command line."""
    parser = ArgumentParser(
        'mnssd config',
        description='Show, check and describe experiments.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    show = actions.add_parser('show', help='an experiment, and who set each key')
    show.add_argument(
        'experiment', nargs='?', help='a YAML file or a name; none to list the names'
    )
    show.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )
    show.add_argument('--json', action='store_true', help='as JSON')
    show.set_defaults(run=_show)
    check = actions.add_parser('check', help='all that is wrong with some files')
    check.add_argument('files', nargs='+', metavar='FILE', help='a YAML file or a name')
    check.set_defaults(run=_check)
    schema = actions.add_parser('schema', help='the JSON schema of experiment files')
    schema.add_argument('--output', type=Path, help='file to write; none to print')
    schema.set_defaults(run=_schema)
    return parser


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and run."""
    args = _parser().parse_args(arguments)
    args.run(args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
