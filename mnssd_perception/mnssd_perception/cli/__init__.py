"""The command line tools."""

__all__: list[str] = []
