"""What came of one malformed input."""

from dataclasses import dataclass
from typing import Literal

__all__ = ['Outcome', 'Verdict']

Verdict = Literal['refused', 'accepted', 'crashed', 'hung']


@dataclass(frozen=True)
class Outcome:
    """
    What came of one malformed input.

    :ivar kind: of the input.
    :ivar index: of the trial; with the seed it makes the input again.
    :ivar verdict: ``refused`` with an MnssdError, ``accepted`` as it was harmless, ``crashed``
        with anything else, or ``hung``.
    :ivar seconds: that it took.
    :ivar words: of the refusal or the crash.
    """

    kind: str
    index: int
    verdict: Verdict
    seconds: float
    words: str = ''
