"""Claims of speed, each measured against a named rival in one run."""

__all__: list[str] = []
