"""Words of a command line to an attack and its report."""

import argparse
from collections.abc import Sequence
import sys

from mnssd_perception.errors import MnssdError

from mnssd_attack.arrays import attack_detector
from mnssd_attack.bundles import attack_archive, attack_directory
from mnssd_attack.manifests import attack_manifest
from mnssd_attack.networks import attack_engine
from mnssd_attack.report import failures, table
from mnssd_attack.worker import Attack, run_trials

__all__ = ['main']

# Trials in a round, so that each kind gets its share of any count.
SHARES = {
    'image message': 6,
    'array': 4,
    'manifest': 4,
    'archive': 4,
    'directory': 2,
    'network': 1,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Throw malformed inputs at mnssd and count what comes of them.

    :param arguments: words of the command line; None for those of this process.
    :return: the exit status, 1 if anything crashed or hung.
    """
    parser = argparse.ArgumentParser(
        prog='python tools/attack',
        description='Throw malformed inputs at the detector node, the Detector and open_bundle.',
    )
    parser.add_argument('--count', type=int, default=2000, help='inputs (default: 2000)')
    parser.add_argument('--seed', type=int, default=1, help='makes the same inputs again')
    parser.add_argument('--kind', choices=SHARES, help='this kind alone')
    options = parser.parse_args(arguments)
    attacks = _attacks()
    if options.kind and options.kind not in attacks:
        parser.error(f'{options.kind!r} cannot be tried here')
    shares = {options.kind: 1} if options.kind else SHARES
    turns = [kind for kind, share in shares.items() for _ in range(share) if kind in attacks]
    kinds = sorted((turns[index % len(turns)] for index in range(options.count)), key=turns.index)
    try:
        outcomes = list(run_trials(attacks, kinds, options.seed))
    except (MnssdError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    bad = failures(outcomes)
    for outcome in bad:
        print(
            f'{outcome.kind} {outcome.index} {outcome.verdict}: {outcome.words}', file=sys.stderr
        )
    print(table(outcomes))
    return 1 if bad else 0


def _attacks() -> dict[str, Attack]:
    """List the attacks that can be made here."""
    found: dict[str, Attack] = {
        'array': attack_detector,
        'manifest': attack_manifest,
        'archive': attack_archive,
        'directory': attack_directory,
        'network': attack_engine,
    }
    try:
        from mnssd_attack.messages import attack_node
    except ImportError as error:
        print(f'without ROS 2, image messages are left out: {error}', file=sys.stderr)
        return found
    return {'image message': attack_node, **found}
