"""What all verbs share: errors become one line on stderr and exit code 1."""

from collections.abc import Callable, Sequence
import logging
import signal
import sys

import cv2
from mnssd_perception.errors import MnssdError


def run_verb(verb: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None) -> int:
    """
    Run a verb.

    :param verb: parses the arguments and does the work.
    :param arguments: of the command line; None for those of the process.
    :return: the exit code: 0, 1 for an error, 128 + n for signal n.
    """
    cv2.setNumThreads(1)  # images are small, and the loaders' workers fill the cores
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    try:
        verb(arguments)
    except MnssdError as error:
        print('error:', ' '.join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(str(stop) or 'interrupted', file=sys.stderr)
        return 128 + getattr(stop, 'signum', signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0
