"""Claims of speed, measured against a named rival in one run: ``python -m mnssd_training.bench``."""

__all__: list[str] = []
