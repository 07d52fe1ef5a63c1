"""``python -m mnssd_training COMMAND ...``: the commands of training, also known to ``mnssd``."""

from collections.abc import Sequence
import sys

from mnssd_perception.commands import Command, run_command

_GROUPS = {
    'experiments': {
        'config': 'show, check and describe experiments',
    },
    'data': {
        'dataset': 'check a dataset, count it, look at it',
        'anchors': 'find priors that suit the boxes of a dataset',
        'bags-to-dataset': 'turn frames of a ROS 2 bag into images with first labels',
        'shard': 'write a dataset as shards that stream from a disk or a bucket',
    },
    'training': {
        'train': 'train an experiment',
        'finetune': 'train on a folder of YOLO labels, with familiar flags',
        'find-lr': 'find the learning rate that suits an experiment',
        'find-batch-size': 'find the largest batch that fits',
    },
    'models': {
        'evaluate': 'score a checkpoint, an ONNX file or a bundle; compare two',
        'predict': 'detect objects in images, videos or a camera',
        'export': 'turn a checkpoint into a bundle that flies',
    },
}
COMMANDS = tuple(
    Command(name, group, summary, f'mnssd_training.cli.{name.replace("-", "_")}')
    for group, commands in _GROUPS.items()
    for name, summary in commands.items()
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that is named first."""
    return run_command('python -m mnssd_training', COMMANDS, arguments)


if __name__ == '__main__':
    sys.exit(main())
