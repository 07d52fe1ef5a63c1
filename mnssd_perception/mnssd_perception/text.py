"""Make text from outside safe to show in terminals, logs and diagnostics."""

import re

# Lengths are bounded wherever a pattern could otherwise start at each character of a long text
# and run to its end.
SECRETS = (
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
WORD = re.compile(r'\S+')
USER = re.compile(r'//[^/?#:]*:')  # of an address, within a word
COMPILED = tuple((re.compile(pattern, re.IGNORECASE), shown) for pattern, shown in SECRETS)


def mask_secrets(text: str, placeholder: str | None = None) -> str:
    """
    Hide passwords and tokens.

    They are found by their place, because a secret looks like any other text: the user part of an
    address (``rtsp://user:***@camera``), parameters of an address or a pipeline that are named
    like a secret (``?token=***``, ``user-pw=***``), and headers. A user name stays unless it is
    long enough to be a token.

    :param text: an address, a command line, a message.
    :param placeholder: regular expression of what stands for a secret, and stays.
    :return: the same with ``***`` in place of each secret.
    """
    text = WORD.sub(lambda word: _mask_password(word[0], placeholder), text)
    for pattern, shown in COMPILED:
        parts = []
        end = 0
        for found in pattern.finditer(text):
            secret = found.string[found.end(1) : found.end()].strip('@"\'')
            is_kept = placeholder is not None and re.fullmatch(placeholder, secret)
            parts += [text[end : found.start()], found.group() if is_kept else found.expand(shown)]
            end = found.end()
        text = ''.join([*parts, text[end:]])
    return text


def _mask_password(word: str, placeholder: str | None) -> str:
    """
    Hide the password of ``//user:password@host``.

    A password may hold any character, so it is taken to reach to the last ``@``. What follows
    ``host:`` is hidden as well where the path has an ``@``: better too much than too little.
    """
    user = USER.search(word)
    end = word.rfind('@', user.end()) if user else -1
    if user is None or end < 0:
        return word
    if placeholder is not None and re.fullmatch(placeholder, word[user.end() : end]):
        return word
    return f'{word[: user.end()]}***{word[end:]}'


def sanitize_text(text: object, max_chars: int = 200) -> str:
    """
    Escape control characters and shorten.

    A string of a message, a file or a URL can hold newlines that forge a line of a log, and
    escape sequences that a terminal obeys.

    :param text: the value, converted by ``str``.
    :param max_chars: longest result; a longer one ends in an ellipsis.
    :return: one line of printable characters.
    """
    # An escape has at most ten characters, so the rest of a huge string need not be looked at.
    shown = str(text)[: max_chars + 1]
    escaped = ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode('ascii')
        for char in shown
    )
    return escaped if len(escaped) <= max_chars else f'{escaped[: max_chars - 3]}...'
