"""Malformed inputs against mnssd: each must be refused in words or survived."""

__all__: list[str] = []
