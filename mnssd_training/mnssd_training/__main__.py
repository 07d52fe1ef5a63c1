"""``python -m mnssd_training VERB ...``: the verbs without ROS."""

from collections.abc import Sequence
from importlib import import_module
import sys

from mnssd_training.config.suggest import did_you_mean

GROUPS = {
    'experiments': {
        'config': 'show, check and describe experiments',
    },
    'photographs': {
        'dataset': 'check a data set, count it, look at it',
        'anchors': 'priors that suit the boxes of a data set',
        'bags-to-dataset': 'frames of a ROS 2 bag to photographs with first labels',
        'shard': 'a data set to shards that stream from a disk or a bucket',
    },
    'training': {
        'train': 'an experiment to checkpoints',
        'finetune': 'a folder of YOLO labels to checkpoints, with familiar flags',
        'find-lr': 'an experiment to the learning rate that suits it',
        'find-batch-size': 'an experiment to the largest batch that fits',
    },
    'what comes of it': {
        'evaluate': 'a checkpoint, a network or a bundle to its average precision',
        'predict': 'images, videos or a camera to detections',
        'export': 'a checkpoint to a bundle that flies',
    },
}
VERBS = {verb: what for group in GROUPS.values() for verb, what in group.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that is named first."""
    verb, *rest = (list(sys.argv[1:]) if arguments is None else list(arguments)) or ['--help']
    if verb in VERBS:
        return import_module(f'mnssd_training.cli.{verb.replace("-", "_")}').main(rest)
    lines = ['usage: python -m mnssd_training VERB ...']
    for title, verbs in GROUPS.items():
        lines += ['', f'{title}:', *(f'  {name:<16} {what}' for name, what in verbs.items())]
    if verb in ('-h', '--help'):
        print('\n'.join([*lines, '', 'Each verb tells more with --help.']))
        return 0
    error = f'error: no verb {verb!r}; {did_you_mean(verb, VERBS)}'
    print('\n'.join([error, *lines]), file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
