"""Command line to a workspace: `python3 tools/workspace setup` and `... run COMMAND`."""

import sys

# This file alone must be readable by any Python, to say which one is needed.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.stderr.write(
        'mnssd: expected Python 3.10 to 3.13, got '
        + '.'.join(str(number) for number in sys.version_info[:2])
        + '; choose another with `make setup PYTHON=python3.12`\n'
    )
    sys.exit(1)

from mnssd_workspace.cli import main

sys.exit(main())
