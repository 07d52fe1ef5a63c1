"""``python -m mnssd_training VERB ...``: the verbs without ROS."""

from collections.abc import Sequence
from importlib import import_module
import sys

VERBS = {
    'train': 'an experiment to checkpoints',
    'evaluate': 'a checkpoint or a bundle to its average precision',
    'export': 'a checkpoint to a bundle that flies',
    'predict': 'images to detections',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that is named first."""
    verb, *rest = (list(sys.argv[1:]) if arguments is None else list(arguments)) or ['--help']
    if verb in VERBS:
        return import_module(f'mnssd_training.cli.{verb}').main(rest)
    lines = ['usage: python -m mnssd_training VERB ...', '']
    lines += [f'  {name:<10} {what}' for name, what in VERBS.items()]
    if verb in ('-h', '--help'):
        print('\n'.join(lines))
        return 0
    print('\n'.join([f'error: no verb {verb!r}', *lines]), file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
