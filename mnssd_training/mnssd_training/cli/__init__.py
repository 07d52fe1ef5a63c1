"""The verbs of training: train, evaluate, export and predict."""

__all__: list[str] = []
