"""Make text from outside safe to show in terminals, logs and diagnostics."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
import re

# Lengths are bounded wherever a pattern could otherwise start at each character of a long text
# and run to its end. Group 1 stays, what follows it is the secret.
SECRETS = tuple(
    (re.compile(pattern, re.IGNORECASE), masked)
    for pattern, masked in (
        # //token@host: a user name is shorter
        (r'(//)[^\s/?#@:]{20,200}@', r'\1***@'),
        # ?key=value and &sig=value of an address
        (
            r'([?&;][\w.-]{0,40}(?:pass|pwd|pw|secret|token|key|sig|credential|auth)'
            r'[\w.-]{0,40}=)[^\s&;#\'"]+',
            r'\1***',
        ),
        # user-pw=value of a pipeline, 'secret': 'value' of a dict, token=value of a message
        (
            r'((?<![\w.-])[\w.-]{0,40}'
            r'(?:password|passwd|passphrase|pwd|-pw|_pw|secret|token|(?:api|access|secret)[_-]?key)'
            r'[\'"]?\s?[=:]\s?)'
            r'(?:"[^"\n]*"|\'[^\'\n]*\'|[^\s&;,\'"!)\]}]+)',
            r'\1***',
        ),
        # Authorization: Bearer value
        (r'(authorization[\'"]?\s?[=:]\s?[\'"]?(?:\w{1,20}\s)?)[^\s\'"]+', r'\1***'),
    )
)
WORD = re.compile(r'\S+')
USER = re.compile(r'//[^/?#:]*:')  # of an address, within a word


def mask_secrets(text: str, placeholder: str | None = None) -> str:
    """
    Replace passwords and tokens in an address, a command line or a message by ``***``.

    They are recognised by their context, because a secret looks like any other text: the user part
    of an address (``rtsp://user:***@camera``), parameters of an address or a pipeline that are
    named like a secret (``?token=***``, ``user-pw=***``), and headers. A user name stays unless it
    is long enough to be a token.

    :param placeholder: regular expression of what stands for a secret, and stays.
    """

    def is_placeholder(secret: str) -> bool:
        return placeholder is not None and re.fullmatch(placeholder, secret) is not None

    def mask_password(match: re.Match[str]) -> str:
        # A password may hold any character, so it is taken to reach to the last @. What follows
        # host: is hidden as well where the path has an @: better too much than too little.
        word = match[0]
        user = USER.search(word)
        end = word.rfind('@', user.end()) if user else -1
        if user is None or end < 0 or is_placeholder(word[user.end() : end]):
            return word
        return f'{word[: user.end()]}***{word[end:]}'

    def mask_value(match: re.Match[str], masked: str) -> str:
        secret = match[0][match.end(1) - match.start() :].strip('@"\'')
        return match[0] if is_placeholder(secret) else match.expand(masked)

    text = WORD.sub(mask_password, text)
    for pattern, masked in SECRETS:
        text = pattern.sub(partial(mask_value, masked=masked), text)
    return text


def sanitize_text(text: object, max_chars: int = 200) -> str:
    """
    Escape control characters and shorten; the result is one line of printable characters.

    A string of a message, a file or a URL can hold newlines that forge a line of a log, and
    escape sequences that a terminal obeys.

    :param max_chars: longest result; a longer one ends in an ellipsis.
    """
    # An escape is longer than its character, so a huge string need not be escaped to its end.
    start = str(text)[: max_chars + 1]
    escaped = ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode('ascii')
        for char in start
    )
    return escaped if len(escaped) <= max_chars else f'{escaped[: max_chars - 3]}...'


def did_you_mean(word: str, known: Iterable[str], prefix: str = '') -> str:
    """Suggest the most similar known word, after a prefix; list all words if none is similar."""
    words = list(known)
    lower = {other.lower(): other for other in words}
    close = get_close_matches(word.lower(), lower, n=1)
    if close:
        return f'did you mean {prefix + lower[close[0]]!r}?'
    return f'available: {", ".join(words)}' if words else 'there are none'
