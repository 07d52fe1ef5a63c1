"""What every engine does: validate, run, wrap errors. A subclass does the one foreign thing."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from mnssd_perception.bundle import Bundle
from mnssd_perception.errors import EngineError, ImageError, MnssdError, SettingsError
from mnssd_perception.ssd import ModelSpec, RawHeads
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EngineOptions:
    """
    How an engine may use the machine.

    :ivar threads: CPU threads of one inference; 0 for as many as pay on this machine.
    :ivar spinning: wait for work in a busy loop: a little faster, and a core burnt between frames.
    """

    threads: int = 0
    spinning: bool = False

    def __post_init__(self) -> None:
        """Refuse a negative number of threads."""
        if not 0 <= self.threads <= 256:
            raise SettingsError(f'threads: expected 0 to 256, got {self.threads}')


@dataclass(frozen=True)
class EngineInfo:
    """
    What runs the network.

    :ivar name: of the engine.
    :ivar version: of its runtime.
    :ivar precision: of the network.
    :ivar device: that it runs on.
    """

    name: str
    version: str
    precision: str
    device: str


class Engine(ABC):
    """
    Runs one network. Not for use by two threads at once.

    :ivar info: what runs it.
    """

    info: EngineInfo

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._closed = False

    @staticmethod
    @abstractmethod
    def available() -> str | None:
        """
        Say why the engine cannot be used on this machine, or None if it can.

        Cheap, and safe on a machine without the runtime or the hardware.
        """

    @classmethod
    @abstractmethod
    def open(cls, bundle: Bundle, options: EngineOptions) -> 'Engine':
        """
        Load the network of a bundle.

        :raises EngineError: if the bundle has none for this engine, or it cannot be loaded.
        """

    @abstractmethod
    def _run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network on a valid image: logits and offsets."""

    @abstractmethod
    def _close(self) -> None:
        """Give the resources back."""

    def infer(self, image: NDArray[np.uint8]) -> RawHeads:
        """
        Run the network on one image.

        :param image: ``(height, width, 3)`` uint8 RGB of the input size; it is not changed.
        :return: the raw heads; valid until the next call.
        :raises ImageError: if the image has another shape or type.
        :raises EngineError: if the runtime fails, a head holds NaN or an infinity, or the engine
            is closed.
        """
        shape = (*self._spec.input_size, 3)
        found = getattr(image, 'shape', None), getattr(image, 'dtype', type(image).__name__)
        if found != (shape, np.uint8):
            raise ImageError(
                f'expected a network input of shape {shape} and type uint8, '
                f'got {found[0]} and {found[1]}'
            )
        if self._closed:
            raise EngineError(f"engine '{self.info.name}' is closed")
        try:
            logits, offsets = self._run(image)
        except MnssdError:
            raise
        except Exception as error:  # the runtimes have no common error
            reason = sanitize_text(str(error), 500)
            raise EngineError(f"engine '{self.info.name}' failed: {reason}") from error
        self._check_finite(logits=logits, offsets=offsets)
        return RawHeads(logits, offsets)

    def _check_finite(self, **heads: NDArray[np.float32]) -> None:
        """
        Refuse heads with NaN or infinities, which would pass for an image without objects.

        0.03 ms for 13502 x 21 heads; finite sums or extremes would say the same, and take longer.
        """
        for name, head in heads.items():
            if not (is_finite := np.isfinite(head)).all():
                num_nan, num_bad = int(np.isnan(head).sum()), int((~is_finite).sum())
                raise EngineError(
                    f"engine '{self.info.name}': expected finite {name}, got {num_nan} NaN and "
                    f'{num_bad - num_nan} infinite of {head.size} values; the network or its '
                    'runtime is broken'
                )

    def close(self) -> None:
        """Give the resources back; more calls do nothing."""
        if not self._closed:
            self._closed = True
            self._close()
