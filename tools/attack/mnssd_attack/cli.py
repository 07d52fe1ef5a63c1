"""Words of a command line to an attack and its report."""

import argparse
from collections.abc import Sequence
from functools import partial
import sys

from mnssd_perception.errors import MnssdError

from mnssd_attack.report import failures, table
from mnssd_attack.worker import Attack, MakeTarget, run_trials

__all__ = ['main', 'TRAINING_SHARES', 'training_attacks']

# Trials in a round, so that each kind gets its share of any count.
SHARES = {
    'image message': 6,
    'array': 4,
    'manifest': 4,
    'archive': 4,
    'directory': 2,
    'network': 1,
}
TRAINING_SHARES = {
    'experiment': 6,
    'override': 3,
    'rehearsal': 2,
    'voc': 3,
    'coco': 3,
    'yolo': 3,
    'visdrone': 2,
    'shards': 2,
    'bag': 1,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Throw malformed inputs at mnssd and count what comes of them.

    :param arguments: words of the command line; None for those of this process.
    :return: the exit status, 1 if anything crashed or hung.
    """
    parser = argparse.ArgumentParser(
        prog='python tools/attack',
        description='Throw malformed inputs at the detector node, the Detector and open_bundle, '
        'or at what training reads.',
    )
    parser.add_argument(
        '--training',
        action='store_true',
        help='experiments, annotations of data sets and bags instead',
    )
    parser.add_argument('--count', type=int, default=2000, help='inputs (default: 2000)')
    parser.add_argument('--seed', type=int, default=1, help='makes the same inputs again')
    parser.add_argument('--kind', choices=[*SHARES, *TRAINING_SHARES], help='this kind alone')
    options = parser.parse_args(arguments)
    all_shares = TRAINING_SHARES if options.training else SHARES
    make_target, attacks = training_attacks() if options.training else _perception_attacks()
    if options.kind and options.kind not in attacks:
        parser.error(f'{options.kind!r} cannot be tried here')
    shares = {options.kind: 1} if options.kind else all_shares
    turns = [kind for kind, share in shares.items() for _ in range(share) if kind in attacks]
    kinds = sorted((turns[index % len(turns)] for index in range(options.count)), key=turns.index)
    try:
        outcomes = list(run_trials(make_target, attacks, kinds, options.seed))
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


def training_attacks() -> tuple[MakeTarget, dict[str, Attack]]:
    """
    List the attacks on training.

    :return: what makes their target, and kind to attack.
    """
    from mnssd_attack.annotations import attack_annotations
    from mnssd_attack.bags import attack_bag
    from mnssd_attack.experiments import attack_experiment, attack_override
    from mnssd_attack.rehearsals import attack_rehearsal
    from mnssd_attack.training_target import make_training_target

    formats = ('voc', 'coco', 'yolo', 'visdrone', 'shards')
    return make_training_target, {
        'experiment': attack_experiment,
        'override': attack_override,
        'rehearsal': attack_rehearsal,
        **{name: partial(attack_annotations, name) for name in formats},
        'bag': attack_bag,
    }


def _perception_attacks() -> tuple[MakeTarget, dict[str, Attack]]:
    """List the attacks on perception that can be made here."""
    from mnssd_attack.arrays import attack_detector
    from mnssd_attack.bundles import attack_archive, attack_directory
    from mnssd_attack.manifests import attack_manifest
    from mnssd_attack.networks import attack_engine
    from mnssd_attack.target import make_target

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
        return make_target, found
    return make_target, {'image message': attack_node, **found}
