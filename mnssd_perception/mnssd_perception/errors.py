"""
The errors of mnssd: one root, leaf classes that word themselves.

Catch :class:`MnssdError` to catch everything that mnssd raises on purpose. Every message names the
thing that was wrong, what was expected and, where there is one, the way out.
"""

from mnssd_perception.text import mask_secrets, sanitize_text

# Names and reasons in messages can come from a damaged file.
MAX_CHARS = 500


class MnssdError(Exception):
    """Any error that mnssd raises on purpose; passwords and tokens in its words are masked."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(mask_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class ImageError(MnssdError):
    """An image cannot be used: wrong shape, type, encoding, size or content."""


class ImageFileError(ImageError):
    """
    An image file cannot be read.

    :ivar name: of the file.
    :ivar reason: what is wrong with it, without the name.
    """

    def __init__(self, name: object, reason: str) -> None:
        self.name = str(name)
        self.reason = sanitize_text(reason)
        super().__init__(f"image file '{sanitize_text(name, 500)}': {self.reason}")


class SpecError(MnssdError):
    """A model specification contradicts itself."""


class SettingsError(MnssdError):
    """A setting is outside its range or names something unknown."""


class BundleError(MnssdError):
    """
    A bundle cannot be opened or written.

    :ivar path: the bundle, or the member in it, that is wrong.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(
            f"bundle '{sanitize_text(path, MAX_CHARS)}': {sanitize_text(reason, MAX_CHARS)}"
        )
        self.path = path


class EngineError(MnssdError):
    """An inference engine failed to load a model or to run it."""


class EngineUnavailableError(EngineError):
    """
    An inference engine cannot be used on this machine.

    :ivar engine: the name of the engine.
    """

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine '{engine}' cannot be used here: {reason}")
        self.engine, self.reason = engine, reason


class SelfTestError(MnssdError):
    """
    An engine does not find in the golden frames of a bundle what it should.

    :ivar bundle: path of the bundle.
    :ivar engine: name, version, precision and device of the engine.
    :ivar frame: path of the frame in the bundle.
    """

    def __init__(self, bundle: object, engine: str, frame: str, reason: str) -> None:
        super().__init__(
            f"self-test of bundle '{bundle}' on {engine} failed at '{frame}': {reason}; this "
            'network must not fly here, try another engine or an earlier bundle'
        )
        self.bundle, self.engine, self.frame = bundle, engine, frame


class SourceError(MnssdError):
    """A camera source cannot be opened or has failed."""


class RecordingError(MnssdError):
    """What was seen cannot be written down."""


class HungError(MnssdError):
    """A thread does not end when it is asked to; only ending the process gets rid of it."""
