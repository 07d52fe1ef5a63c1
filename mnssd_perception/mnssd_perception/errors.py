"""
The errors of mnssd.

Catch :class:`MnssdError` to catch everything that mnssd raises on purpose. Every message names the
thing that is wrong, what was expected and, where there is one, a hint.
"""

from mnssd_perception.text import mask_secrets, sanitize_text

MAX_CHARS = 500  # of a name or a reason, which can come from a damaged file


class MnssdError(Exception):
    """Any error that mnssd raises on purpose; passwords and tokens in its message are masked."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(mask_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class ImageError(MnssdError):
    """An image cannot be used: wrong shape, type, encoding, size or content."""


class ImageFileError(ImageError):
    """
    An image file cannot be read.

    :ivar reason: without the name of the file.
    """

    def __init__(self, name: object, reason: str) -> None:
        self.name, self.reason = str(name), sanitize_text(reason)
        super().__init__(f"image file '{sanitize_text(name, MAX_CHARS)}': {self.reason}")


class SpecError(MnssdError):
    """A model specification contradicts itself."""


class SettingsError(MnssdError):
    """A setting is out of range or names something that does not exist."""


class BundleError(MnssdError):
    """A bundle cannot be opened or written."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(
            f"bundle '{sanitize_text(path, MAX_CHARS)}': {sanitize_text(reason, MAX_CHARS)}"
        )
        self.path = path


class EngineError(MnssdError):
    """An inference engine failed to load a model or to run it."""


class EngineUnavailableError(EngineError):
    """An inference engine cannot be used on this machine."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine '{engine}' cannot be used here: {reason}")
        self.engine, self.reason = engine, reason


class SelfTestError(MnssdError):
    """
    An engine does not detect in the golden frames of a bundle what it should.

    :ivar reason: without the names of bundle and engine.
    """

    def __init__(self, bundle: object, engine: str, frame: str, reason: str) -> None:
        super().__init__(
            f"self-test of bundle '{bundle}' on {engine} failed at '{frame}': {reason}; this "
            'network must not fly here, try another engine or an earlier bundle'
        )
        self.bundle, self.engine, self.frame = bundle, engine, frame
        self.reason = f"the self-test failed at '{frame}': {reason}"


class SourceError(MnssdError):
    """A camera source cannot be opened or has failed."""


class RecordingError(MnssdError):
    """A recording cannot be written."""


class HungError(MnssdError):
    """A thread does not end when it is asked to; only ending the process gets rid of it."""
