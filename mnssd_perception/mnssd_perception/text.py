"""Make text from outside safe to show in terminals, logs and diagnostics."""

__all__ = ['sanitize_text']


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
