"""The errors of training; all of them are also :class:`mnssd_perception.errors.MnssdError`."""

import re

from mnssd_perception.errors import MnssdError
from mnssd_perception.text import mask_secrets, sanitize_text


class ConfigError(MnssdError):
    """An experiment file or an override is wrong."""


class TrainingError(MnssdError):
    """Training cannot go on, for example because the loss is not finite."""


class CheckpointError(MnssdError):
    """A checkpoint cannot be read or does not belong to this experiment."""


class ExportError(MnssdError):
    """An exported network does not compute what the trained one does."""


class _FileError(MnssdError):
    """An error about the file ``path``, which survives pickling between processes."""

    def __init__(self, path: object, reason: str) -> None:
        # A name of thousands of letters must not push the reason out of the message.
        text = re.sub(r'[^\s:]{300,}', lambda name: f'{name[0][:297]}...', f'{path}: {reason}')
        super().__init__(sanitize_text(text, 2000))
        self.path = mask_secrets(path) if isinstance(path, str) else path
        self.reason = reason

    def __reduce__(self) -> tuple[type['_FileError'], tuple[object, str]]:
        return type(self), (self.path, self.reason)


class DatasetError(_FileError):
    """A dataset cannot be read; ``path`` is the file that is wrong."""


class DamagedCheckpointError(_FileError, CheckpointError):
    """The bytes of the checkpoint ``path`` differ from those that were written."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(path, f'damaged: {reason}')
        self.reason = reason
