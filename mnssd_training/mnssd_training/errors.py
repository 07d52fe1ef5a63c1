"""The errors of training; all of them are also :class:`mnssd_perception.errors.MnssdError`."""

from mnssd_perception.errors import MnssdError
from mnssd_perception.text import mask_secrets, sanitize_text


class ConfigError(MnssdError):
    """An experiment file or an override is wrong."""


class DatasetError(MnssdError):
    """
    A dataset cannot be read.

    :ivar path: the file that is wrong.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f'{sanitize_text(path, 500)}: {reason}')
        self.path = mask_secrets(path) if isinstance(path, str) else path
        self._reason = reason

    def __reduce__(self) -> tuple[type['DatasetError'], tuple[object, str]]:
        """Travel from a loader's worker whole."""
        return type(self), (self.path, self._reason)


class TrainingError(MnssdError):
    """Training cannot go on, for example because the loss is not finite."""


class CheckpointError(MnssdError):
    """A checkpoint cannot be read or does not belong to this experiment."""


class DamagedCheckpointError(CheckpointError):
    """
    The bytes of a checkpoint are not those that were written.

    :ivar path: the file.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f'{path}: damaged: {reason}')
        self.path = path
        self._reason = reason

    def __reduce__(self) -> tuple[type['DamagedCheckpointError'], tuple[object, str]]:
        """Travel to the other processes whole."""
        return type(self), (self.path, self._reason)


class ExportError(MnssdError):
    """An exported network does not do what the trained one does."""
