"""Errors to whether their words lead to what is wrong."""

from collections.abc import Iterable, Iterator
import contextlib

from mnssd_perception.errors import MnssdError

__all__ = ['naming']


@contextlib.contextmanager
def naming(names: Iterable[str]) -> Iterator[None]:
    """
    Let errors of mnssd pass that name what is wrong.

    :param names: of files and keys, of which each error has to hold one.
    :raises AssertionError: for an error that names none of them, or is more than a line.
    """
    try:
        yield
    except MnssdError as error:
        words = str(error)
        assert any(name in words for name in names), f'names no file and no key: {words!r}'
        assert '\n' not in words, f'more than a line: {words!r}'
        raise
