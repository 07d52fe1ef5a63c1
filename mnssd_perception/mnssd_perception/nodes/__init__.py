"""The executables of the drone."""

__all__: list[str] = []
