"""Command line to malformed inputs: `python tools/attack [--training] --count 2000 --seed 1`."""

import sys

from mnssd_attack.cli import main

if __name__ == '__main__':  # the worker process imports this file too
    sys.exit(main())
