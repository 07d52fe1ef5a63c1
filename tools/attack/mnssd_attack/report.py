"""Outcomes to a table."""

from collections.abc import Sequence

from mnssd_attack.outcome import Outcome

__all__ = ['failures', 'table']

VERDICTS = ('refused', 'accepted', 'crashed', 'hung')


def table(outcomes: Sequence[Outcome]) -> str:
    """
    Count outcomes by kind and verdict.

    :param outcomes: of all trials.
    :return: lines of text.
    """
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    lines = [_line('kind', 'tried', *VERDICTS, 'slowest')]
    for kind in [*kinds, 'all']:
        own = [outcome for outcome in outcomes if kind in (outcome.kind, 'all')]
        counts = [sum(outcome.verdict == verdict for outcome in own) for verdict in VERDICTS]
        slowest = max((outcome.seconds for outcome in own), default=0.0)
        lines.append(_line(kind, len(own), *counts, f'{slowest:.2f} s'))
    return '\n'.join(lines)


def failures(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """
    Pick what must not happen.

    :param outcomes: of all trials.
    :return: crashes and hangs, one of each kind that ends in the same words.
    """
    bad = [outcome for outcome in outcomes if outcome.verdict in ('crashed', 'hung')]
    found = {(outcome.kind, outcome.words.splitlines()[-1]): outcome for outcome in bad[::-1]}
    return list(found.values())[::-1]


def _line(kind: object, *columns: object) -> str:
    """Align one line."""
    return f'{kind!s:<24}' + ''.join(f'{column!s:>10}' for column in columns)
