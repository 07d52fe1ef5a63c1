"""The commands of training, also listed by ``mnssd``: ``python -m mnssd_training COMMAND``."""

from collections.abc import Sequence
import sys

from mnssd_perception.commands import Command, run_command

_GROUPS = {
    'experiments': {'config': 'show, check and describe experiments'},
    'data': {
        'dataset': 'check a dataset, print its statistics, preview its images',
        'anchors': 'find priors that fit the boxes of a dataset',
        'bags-to-dataset': 'convert frames of a ROS 2 bag to images with first labels',
        'shard': 'write a dataset as shards that stream from a disk or a bucket',
    },
    'training': {
        'train': 'train an experiment',
        'suite': 'train several recipes side by side, and compare them',
        'finetune': 'train on a folder of YOLO labels, with familiar flags',
        'find-lr': 'find the learning rate for an experiment',
        'find-batch-size': 'find the largest batch that fits in memory',
    },
    'models': {
        'average': 'average the weights of several runs of one network',
        'evaluate': 'evaluate a checkpoint, an ONNX file or a bundle; compare two',
        'predict': 'detect objects in images, videos or a camera',
        'export': 'export a checkpoint to a bundle',
        'compile-hailo': 'compile a checkpoint for a Hailo chip',
        'export-onnx': 'export a checkpoint to an ONNX file, for other programs',
        'validate': 'compare an ONNX file with the network that it was exported from',
    },
}
COMMANDS = tuple(
    Command(name, group, summary, f'mnssd_training.cli.{name.replace("-", "_")}')
    for group, commands in _GROUPS.items()
    for name, summary in commands.items()
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names."""
    return run_command('python -m mnssd_training', COMMANDS, arguments)


if __name__ == '__main__':
    sys.exit(main())
