"""The interface of inference engines: the base class validates, a subclass runs the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import os
from pathlib import Path
from typing import Any

from mnssd_perception.errors import EngineError, ImageError, MnssdError, SettingsError
from mnssd_perception.ssd import ModelSpec, RawHeads
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

Heads = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits and offsets

# Names of the tensors of a network in a bundle.
INPUT, OUTPUTS = 'image', ('logits', 'offsets')

# More do not pay for a network of this size, and a drone has other work.
MAX_CPU_THREADS = 4


@dataclass(frozen=True)
class EngineOptions:
    """
    How an engine may use the machine.

    :ivar threads: CPU threads of one inference, 0 to 256; 0 lets the engine choose.
    :ivar spinning: wait for work in a busy loop: a little faster, and a core burnt between frames.
    :ivar cache: folder for what an engine builds from a network on this machine; None for none.
    :ivar progress: called with a line of text now and then while an engine builds, which can take
        minutes; from any thread.
    :ivar workspace_mib: memory that TensorRT may use while it builds an engine, MiB.
    :ivar dla_core: deep learning accelerator of a Jetson that TensorRT uses; -1 for the GPU.
    :ivar shared_device: share a Hailo device with other processes, through its service.
    """

    threads: int = 0
    spinning: bool = False
    cache: Path | None = None
    progress: Callable[[str], None] = field(default=lambda line: None, compare=False)
    workspace_mib: int = 1024
    dla_core: int = -1
    shared_device: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= 256:
            raise SettingsError(f'threads: expected 0 to 256, got {self.threads}')
        if not 16 <= self.workspace_mib <= 1 << 20:
            raise SettingsError(
                f'workspace_mib: expected 16 to {1 << 20}, got {self.workspace_mib}'
            )
        if not -1 <= self.dla_core <= 15:
            raise SettingsError(f'dla_core: expected -1 to 15, got {self.dla_core}')

    @property
    def cpu_threads(self) -> int:
        """Threads for an engine that runs on the CPU, at least 1."""
        return self.threads or min(MAX_CPU_THREADS, os.cpu_count() or 1)


@dataclass(frozen=True)
class EngineInfo:
    """What runs a network: the engine, the version of its runtime, precision and hardware."""

    name: str
    version: str
    precision: str
    device: str

    def __str__(self) -> str:
        return f'{self.name} {self.version}, {self.precision}, {self.device}'


class Engine(ABC):
    """
    Runs one network. Not for use by two threads at once.

    Subclasses in ``ENGINES`` take ``(spec, network, options, precision)``, see
    :class:`mnssd_perception.engines.onnxruntime_engine.OnnxRuntimeEngine`.

    :ivar spec: what the network takes and returns.
    :ivar info: what runs it.
    :ivar build: digest of what was built of the network on this machine, where that may come out
        differently next time; else empty.
    """

    info: EngineInfo
    build = ''

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._closed = False

    @staticmethod
    @abstractmethod
    def available() -> str | None:
        """
        Say why the engine cannot be used on this machine, or None if it can.

        Cheap, and safe on a machine without the runtime or the hardware.
        """

    @abstractmethod
    def _run(self, image: NDArray[np.uint8]) -> Heads:
        """Run the network on a valid image."""

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        """Run the network on ``(B, H, W, 3)`` valid images; heads with a batch dimension."""
        heads = [tuple(head.copy() for head in self._run(image)) for image in images]
        logits, offsets = (np.stack(head) for head in zip(*heads))
        return logits, offsets

    @abstractmethod
    def _close(self) -> None:
        """Release the resources."""

    def infer(self, image: NDArray[np.uint8]) -> RawHeads:
        """
        Run the network on one image.

        :param image: ``(H, W, 3)`` uint8 RGB of the input size; it is not changed.
        :return: the raw heads; valid until the next call.
        :raises ImageError: if the image has another shape or type.
        :raises EngineError: if the runtime fails, a head holds NaN or an infinity, or the engine
            is closed.
        """
        self._check_input(image)
        with self._wrapped_errors():
            logits, offsets = self._run(image)
        self._check_finite(logits=logits, offsets=offsets)
        return RawHeads(logits, offsets)

    def infer_batch(self, images: NDArray[np.uint8]) -> list[RawHeads]:
        """
        Run the network on several images, at once where the engine can.

        :param images: ``(B, H, W, 3)`` uint8 RGB of the input size; they are not changed.
        :return: the raw heads of each image.
        :raises ImageError: see :meth:`infer`.
        :raises EngineError: see :meth:`infer`.
        """
        if not len(images):
            return []
        self._check_input(images, len(images))
        with self._wrapped_errors():
            logits, offsets = self._run_batch(images)
        self._check_finite(logits=logits, offsets=offsets)
        return [RawHeads(*heads) for heads in zip(logits, offsets)]

    def _check_input(self, images: NDArray[np.uint8], *batch_size: int) -> None:
        shape = (*batch_size, *self.spec.input_size, 3)
        got = getattr(images, 'shape', None), getattr(images, 'dtype', type(images).__name__)
        if got != (shape, np.uint8):
            raise ImageError(
                f'expected a network input of shape {shape} and type uint8, '
                f'got {got[0]} and {got[1]}'
            )
        if self._closed:
            raise EngineError(f"engine '{self.info.name}' is closed")

    @contextmanager
    def _wrapped_errors(self) -> Iterator[None]:
        try:
            yield
        except MnssdError:
            raise
        except Exception as error:  # the runtimes have no common error
            reason = sanitize_text(str(error), 500)
            raise EngineError(f"engine '{self.info.name}' failed: {reason}") from error

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
        """Release the resources; more calls do nothing."""
        if not self._closed:
            self._closed = True
            self._close()


def tensor_shapes(spec: ModelSpec, *batch: int | str) -> dict[str, tuple[Any, ...]]:
    """List the shapes of the input and the outputs that a network must have, input first."""
    return {
        INPUT: (*batch, *spec.input_size, 3),
        OUTPUTS[0]: (*batch, spec.num_priors, spec.num_classes + 1),
        OUTPUTS[1]: (*batch, spec.num_priors, 4),
    }


def make_tensors(spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """Make arrays for the input, uint8, and the outputs, float32, of a network for one image."""
    return {
        name: np.zeros(shape, np.uint8 if name == INPUT else np.float32)
        for name, shape in tensor_shapes(spec).items()
    }


def run_in_chunks(
    run: Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]],
    images: NDArray[np.uint8],
    size: int,
) -> Heads:
    """Run a network on at most `size` of ``(B, H, W, 3)`` images at once, B at least 1."""
    chunks = [run(images[start : start + size]) for start in range(0, len(images), size)]
    logits, offsets = (np.concatenate(heads) for heads in zip(*chunks))
    return logits, offsets
