"""``mnssd COMMAND ...``, also ``python -m mnssd_perception COMMAND ...``."""

from collections.abc import Sequence
import sys

from mnssd_perception.commands import Command, installed_commands, run_command

COMMANDS = (
    Command('demo', 'drone', 'detections in a folder, a video or a camera, live through ROS 2',
            'mnssd_perception.cli.demo'),
    Command('benchmark', 'drone', 'measure the speed of a bundle on this machine; compare two',
            'mnssd_perception.cli.benchmark'),
    Command('bundle', 'models', 'verify, inspect and compare bundles',
            'mnssd_perception.cli.bundle'),
    Command('build-engine', 'models', 'build the TensorRT engines of a bundle on this machine',
            'mnssd_perception.cli.build_engine'),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that is named first."""
    return run_command('mnssd', (*COMMANDS, *installed_commands()), arguments)


if __name__ == '__main__':
    sys.exit(main())
