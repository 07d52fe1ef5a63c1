"""Open the networks of a bundle in the engines that work on this machine, the fastest first."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
import platform
from threading import Lock
from typing import Any, TypeVar

from mnssd_perception.bundle import Artefact, Bundle, PRECISIONS
from mnssd_perception.engines.engine import Engine, EngineOptions, Heads
from mnssd_perception.engines.hailo_engine import HailoEngine
from mnssd_perception.engines.onnxruntime_engine import (
    CudaOnnxRuntimeEngine,
    OnnxRuntimeEngine,
    OpenVinoOnnxRuntimeEngine,
    TensorRtOnnxRuntimeEngine,
)
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
from mnssd_perception.engines.tensorrt_engine import TensorRtEngine
from mnssd_perception.errors import (
    EngineError,
    EngineUnavailableError,
    MnssdError,
    SettingsError,
)
from mnssd_perception.ssd import ModelSpec, RawHeads
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

# Each takes (spec, network, options, precision).
ENGINES: dict[str, Any] = {
    'tensorrt': TensorRtEngine,
    'hailo': HailoEngine,
    'openvino': OpenVinoEngine,
    'onnxruntime': OnnxRuntimeEngine,
    'onnxruntime:cuda': CudaOnnxRuntimeEngine,
    'onnxruntime:tensorrt': TensorRtOnnxRuntimeEngine,
    'onnxruntime:openvino': OpenVinoOnnxRuntimeEngine,
}

# In which 'auto' tries the engines, by processor.
AUTO_ORDER = {'x86_64': ('tensorrt', 'hailo', 'openvino', 'onnxruntime')}
AUTO_ORDER_ELSEWHERE = ('tensorrt', 'hailo', 'onnxruntime')

# In which an engine tries the networks of a bundle. CUDA has no kernels for INT8 convolutions, and
# TensorRT needs other INT8 networks than CPUs.
PRECISION_ORDER = {
    'tensorrt': ('int8', 'fp16'),
    'hailo': ('int8',),
    'openvino': ('int8', 'fp32'),
    'onnxruntime': ('int8', 'fp32'),
    'onnxruntime:cuda': ('fp16', 'fp32'),
    'onnxruntime:tensorrt': ('fp16', 'fp32'),
    'onnxruntime:openvino': ('int8', 'fp32'),
}


@dataclass(frozen=True)
class Candidate:
    """An engine and the network in a bundle that it can run."""

    engine: str
    artefact: Artefact

    def __str__(self) -> str:
        return f'{self.engine} ({self.artefact.precision})'


@dataclass(frozen=True)
class Rejection:
    """
    An engine that is not used, and why.

    :ivar is_failure: it should work on this machine but did not.
    """

    candidate: Candidate
    reason: str
    is_failure: bool

    def __str__(self) -> str:
        return f'{self.candidate}: {self.reason}'


T = TypeVar('T')
Verify = Callable[[Engine], object]


def open_engine(
    bundle: Bundle,
    name: str = 'auto',
    options: EngineOptions = EngineOptions(),
    precision: str = '',
    *,
    has_batch: bool = False,
) -> Engine:
    """
    Open the network of a bundle.

    :param name: an engine; ``auto`` takes the first that has a network in the bundle and works on
        this machine.
    :param precision: of the network; empty for the fastest that the engine can run.
    :param has_batch: open a network that takes several images at once, for many images that are
        there already: it is slower for one.
    :raises SettingsError: if there is no engine of that name.
    :raises EngineError: if the engine, or every one of them, cannot be used or fails to load.
    """
    candidates = list_candidates(bundle, name, precision, has_batch=has_batch)
    return _open_first(bundle, candidates, options, [])[0]


def open_onnx(
    spec: ModelSpec,
    network: bytes,
    name: str = 'auto',
    options: EngineOptions = EngineOptions(),
    precision: str = 'fp32',
) -> Engine:
    """
    Open a serialised ONNX network.

    :param name: an engine that reads ONNX; ``auto`` for ONNX Runtime.
    :param precision: of the network.
    :raises SettingsError: if there is no engine of that name.
    :raises EngineError: if the engine cannot be used or fails to load.
    """
    engine = 'onnxruntime' if name == 'auto' else name
    _check_name(engine)
    opened: Engine = ENGINES[engine](spec, network, options, precision)
    return opened


class FallbackEngine(Engine):
    """
    The fastest engine that works, replaced by the next one when it fails.

    :param name: see :func:`open_engine`, as is the precision.
    :param verify: called with each engine that was opened; one for which it raises is not used.
    :ivar rejections: the engines that were tried and are not used.
    :ivar replacing: the engine that has just failed, while the next one is opened; else None.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str = 'auto',
        options: EngineOptions = EngineOptions(),
        precision: str = '',
        verify: Verify = lambda engine: None,
    ) -> None:
        super().__init__(bundle.manifest.spec)
        self._bundle, self._options, self._verify = bundle, options, verify
        self._swapping = Lock()
        self.rejections: tuple[Rejection, ...] = ()
        self.replacing: Rejection | None = None
        self._candidates: Sequence[Candidate] = list_candidates(bundle, name, precision)
        self._open_next()
        self._fill_cache()

    @staticmethod
    def available() -> str | None:
        """Say that some engine may be used; opening one decides."""
        return None

    def infer(self, image: NDArray[np.uint8]) -> RawHeads:
        """Run the current engine, or the next one on the same image, see :meth:`Engine.infer`."""
        return self._with_fallback(lambda: self._engine.infer(image))

    def infer_batch(self, images: NDArray[np.uint8]) -> list[RawHeads]:
        """Run the current engine or the next one, see :meth:`Engine.infer_batch`."""
        return self._with_fallback(lambda: self._engine.infer_batch(images))

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        raise NotImplementedError('infer() calls the current engine')

    def _close(self) -> None:
        with self._swapping:
            self._engine.close()

    def _fill_cache(self) -> None:
        """
        Open OpenVINO once if it may replace the current engine.

        It compiles an INT8 network for a second when it sees it first, and loads it from its cache
        in a fifth: a frame may not wait so long in flight.
        """
        openvino = [item for item in self._candidates if item.engine == 'openvino']
        if self._options.cache is None or self._candidate.engine == 'openvino' or not openvino:
            return
        with suppress(MnssdError):  # it is reported when it is needed
            _open_first(self._bundle, openvino, self._options, [])[0].close()

    def _with_fallback(self, run: Callable[[], T]) -> T:
        while True:
            try:
                return run()
            except EngineError as error:
                if self._closed or not self._candidates:
                    raise
                self._replace(error)

    def _replace(self, error: EngineError) -> None:
        """Open the next engine; where none works, keep the current one and raise its error."""
        failed_engine, failed_name = self._engine, self._candidate.engine
        self.replacing = Rejection(self._candidate, str(error), is_failure=True)
        # What has failed, such as a device, most likely fails again with another network; and
        # TensorRT would build an engine for minutes.
        self._candidates = sorted(self._candidates, key=lambda item: item.engine == failed_name)
        try:
            self._open_next(self.replacing)
        except MnssdError:
            raise error from None
        finally:
            self.replacing = None
        # Last: closing an engine that has just failed may fail or take long.
        with suppress(Exception):
            failed_engine.close()

    def _open_next(self, *failed: Rejection) -> None:
        candidates, self._candidates = self._candidates, ()
        rejections: list[Rejection] = []
        try:
            engine, opened = _open_first(
                self._bundle, candidates, self._options, rejections, self._verify
            )
        except MnssdError:
            self.rejections += tuple(rejections)
            raise
        with self._swapping:
            if self._closed:  # while the next engine was opened, which can take seconds
                engine.close()
                raise EngineError(f"engine '{engine.info.name}' is closed")
            self._engine, self._candidate = engine, candidates[opened]
        self._candidates = candidates[opened + 1 :]
        self.info = engine.info
        self.rejections += (*failed, *rejections)  # last, for a thread that watches them


def list_candidates(
    bundle: Bundle, name: str = 'auto', precision: str = '', *, has_batch: bool = False
) -> list[Candidate]:
    """
    List the networks of a bundle that an engine could run, the fastest first.

    :raises SettingsError: if there is no engine of that name, or no such precision.
    :raises EngineError: if the bundle has no network for it.
    """
    _check_name(name)
    if precision and precision not in PRECISIONS:
        raise SettingsError(
            f'precision: expected one of {", ".join(PRECISIONS)}, got {precision!r}'
        )
    order = AUTO_ORDER.get(platform.machine(), AUTO_ORDER_ELSEWHERE)
    candidates = [
        Candidate(engine, artefact)
        for engine in (order if name == 'auto' else (name,))
        for wanted in ((precision,) if precision else PRECISION_ORDER[engine])
        if (artefact := _find_artefact(bundle, engine, wanted, has_batch)) is not None
    ]
    if not candidates:
        available = sorted(
            {
                f'{item.engine} ({item.precision}{", batch" if item.has_batch else ""})'
                for item in bundle.manifest.artefacts
            }
        )
        raise EngineError(
            f"bundle '{bundle.path}' has no network for engine '{name}'"
            f'{f" in {precision}" if precision else ""}{" with a batch" if has_batch else ""}; '
            f'it has {", ".join(available)}'
        )
    return candidates


def _find_artefact(
    bundle: Bundle, engine: str, precision: str, has_batch: bool
) -> Artefact | None:
    runtime = engine.partition(':')[0]  # without the provider
    return bundle.artefact(runtime, precision, has_batch=has_batch)


def _open_first(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    options: EngineOptions,
    rejections: list[Rejection],
    verify: Verify = lambda engine: None,
) -> tuple[Engine, int]:
    """Open the first that works, and return its index; list why those before it do not."""
    errors: list[MnssdError] = []
    for index, candidate in enumerate(candidates):
        try:
            return _open(bundle, candidate, options, verify), index
        except MnssdError as error:
            is_unavailable = isinstance(error, EngineUnavailableError)
            reason = getattr(error, 'reason', str(error))  # without names that stand beside it
            rejections.append(Rejection(candidate, reason, not is_unavailable))
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise EngineError(
        f'no engine can run this network here; {"; ".join(map(str, rejections))}'
    ) from errors[-1]


def _open(bundle: Bundle, candidate: Candidate, options: EngineOptions, verify: Verify) -> Engine:
    artefact = candidate.artefact
    engine_class = ENGINES[candidate.engine]
    try:
        # Before reading the network: most machines lack most engines.
        if reason := engine_class.available():
            raise EngineUnavailableError(candidate.engine, reason)
        network = bundle.read(artefact.path)
        engine: Engine = engine_class(bundle.manifest.spec, network, options, artefact.precision)
        try:
            verify(engine)
        except BaseException:
            engine.close()
            raise
    except MnssdError:
        raise
    except Exception as error:  # out of memory, or an error of a runtime: others may work
        reason = sanitize_text(f'{type(error).__name__}: {error}', 500)
        raise EngineError(f"engine '{candidate.engine}' failed to open: {reason}") from error
    return engine


def _check_name(name: str) -> None:
    if name != 'auto' and name not in ENGINES:
        raise SettingsError(
            f'engine: expected one of {", ".join(["auto", *ENGINES])}, got {name!r}'
        )
