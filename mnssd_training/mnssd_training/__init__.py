"""Trains, scores and exports the detector that mnssd_perception flies."""

__all__: list[str] = []
