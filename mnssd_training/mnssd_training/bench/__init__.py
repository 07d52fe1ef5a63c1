"""Claims of speed, each measured against a named peer in one run."""

__all__: list[str] = []
