"""Measure the speed of mnssd beside named peers in the same run; ``make bench`` runs it."""

__all__: list[str] = []
