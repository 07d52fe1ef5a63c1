"""What somebody wrote to the words that tell what was wrong with it."""

from collections.abc import Iterable
from difflib import get_close_matches
import json
from typing import Any


def did_you_mean(word: str, known: Iterable[str], prefix: str = '') -> str:
    """
    Suggest a known word, or list them all.

    :param word: what was written.
    :param known: what there is.
    :param prefix: to put before the suggestion.
    :return: the end of a sentence.
    """
    words = list(known)
    small = {other.lower(): other for other in words}
    close = get_close_matches(word.lower(), small, n=1, cutoff=0.6)
    if close:
        return f'did you mean {prefix + small[close[0]]!r}?'
    return f'known are {", ".join(words)}' if words else 'there is none'


def shown(value: Any) -> str:
    """Write a plain value as YAML would have it, cut short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f'{text[:57]}...'
