"""``mnssd suite``: train several recipes side by side, and compare them."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
import json
from pathlib import Path
import shlex

from mnssd_training.cli.common import command, make_parser, positive_int, write_file
from mnssd_training.errors import TrainingError
from tqdm import tqdm

EXAMPLES = """\
  mnssd suite SUITE.yaml data.root=DATA/thermal --dry-run
  mnssd suite SUITE.yaml data.root=DATA/thermal --jobs 4 --time-limit 520
  mnssd suite SUITE.yaml data.root=DATA/thermal --jobs 4     # resumes what has not ended
  mnssd suite SUITE.yaml data.root=DATA/thermal --report --markdown table.md --json table.json
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the recipes of a suite on its blocks with its seeds, and print a table of scores."""
    parser = make_parser('suite', main.__doc__, EXAMPLES)
    parser.add_argument('suite', help='a YAML file, or the name of a shipped suite')
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to all experiments'
    )
    parser.add_argument(
        '--output', type=Path, help='folder of the run folders (default: runs/<name of the suite>)'
    )
    parser.add_argument('--jobs', type=positive_int, default=1, help='trainings at a time')
    parser.add_argument(
        '--time-limit', type=_seconds, metavar='SECONDS', help='stop all runs after this time'
    )
    parser.add_argument('--dry-run', action='store_true', help='list the runs and exit')
    parser.add_argument('--report', action='store_true', help='print the table only')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the table there too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all scores there')
    parser.add_argument('--quiet', action='store_true', help='print the table only, no progress')
    args = parser.parse_intermixed_args(arguments)
    # torch takes seconds: after parsing
    from mnssd_training.suite import (
        load_suite,
        plan_runs,
        report_suite,
        report_text,
        report_to_json,
        run_suite,
    )
    from mnssd_training.suite.runner import train_command
    from mnssd_training.suite.status import read_status
    from mnssd_training.train import Preempted

    path, suite = load_suite(args.suite)
    runs = plan_runs(path, suite, args.output or Path('runs') / path.stem, args.overrides)
    if args.dry_run:
        for run in runs:
            print(f'{run.name} ({read_status(run.folder).state}):')
            print(f'  {shlex.join(train_command(run))}')
        return
    outcome = None
    if not args.report:
        with tqdm(bar_format='{desc}', disable=args.quiet or None, leave=False) as bar:
            outcome = run_suite(
                runs,
                jobs=args.jobs,
                time_limit=args.time_limit,
                report=(lambda _: None) if args.quiet else tqdm.write,
                show_progress=bar.set_description_str,
            )
    report = report_suite(suite, runs)
    print(report_text(report))
    if args.markdown:
        write_file(args.markdown, report_text(report, markdown=True) + '\n')
    if args.json:
        plain = json.dumps(report_to_json(report), indent=2, allow_nan=False)
        write_file(args.json, plain + '\n')
    if outcome and outcome.failed:
        failures = '; '.join(f'{name}: {reason}' for name, reason in outcome.failed.items())
        raise TrainingError(f'{len(outcome.failed)} of {len(runs)} runs failed: {failures}')
    if outcome and outcome.signum:
        raise Preempted(outcome.signum, 'the same command continues')


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float('inf'):
        raise ArgumentTypeError(f'expected a number of seconds above 0, got {text!r}')
    return seconds
