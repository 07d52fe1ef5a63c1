"""Open the engine of a detector in the background, and notice when another one replaces it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import (
    Engine,
    EngineInfo,
    EngineOptions,
    FallbackEngine,
    Rejection,
)
from mnssd_perception.files import cache_folder
from mnssd_perception.nodes.parameters import DetectorParameters
from mnssd_perception.self_test import run_self_test
from mnssd_perception.text import sanitize_text
import numpy as np

PROGRESS_PERIOD = 5.0  # between two logged lines of a build, which takes minutes [s]


@dataclass(frozen=True)
class EngineState:
    """
    The engine of a detector at one moment.

    :ivar info: what runs the network; None before an engine is open.
    :ivar rejections: the engines that were tried and are not used.
    :ivar loading: what is happening while an engine is opened; empty otherwise.
    """

    info: EngineInfo | None = None
    rejections: tuple[Rejection, ...] = ()
    loading: str = ''


NO_ENGINE = EngineState()


class DetectorEngine:
    """
    The engine of a detector, which passed the self-test of its bundle.

    :param logger: of the node.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._engine: FallbackEngine | None = None
        self._loading, self._is_opening = '', False
        self._reported = NO_ENGINE

    def open(
        self, bundle: Bundle, values: DetectorParameters, report: Callable[[], None]
    ) -> FallbackEngine:
        """
        Open the fastest engine that works here, in another thread.

        TensorRT builds an engine for minutes when it sees a network for the first time.

        :param report: is called first, and then once per ``diagnostics_period`` until it is open.
        :raises MnssdError: if there is none.
        """
        self._is_opening = True
        try:
            with ThreadPoolExecutor(1, 'engine') as executor:
                opening = executor.submit(self._open, bundle, values)
                report()
                while not wait((opening,), values.diagnostics_period).done:
                    report()
            self._engine = opening.result()
        finally:
            self._is_opening = False
        self.has_changed()
        return self._engine

    def close(self) -> None:
        """Close the engine, if there is one."""
        if self._engine is not None:
            engine, self._engine, self._reported = self._engine, None, NO_ENGINE
            engine.close()

    def state(self) -> EngineState:
        """Return the current state."""
        engine = self._engine
        if engine is None:
            return EngineState(loading=self._loading if self._is_opening else '')
        # First: the worker thread adds it to the rejections before it is removed here.
        replacing = engine.replacing
        rejections = engine.rejections
        if replacing is None:
            return EngineState(engine.info, rejections)
        if replacing not in rejections:
            rejections += (replacing,)
        return EngineState(engine.info, rejections, self._loading)

    def has_changed(self) -> bool:
        """Say whether an engine failed or was replaced since the last call; log the new one."""
        state, previous = self.state(), self._reported
        if (state.info, state.rejections) == (previous.info, previous.rejections):
            return False
        self._reported = state
        if previous.info is not None and state.info != previous.info:
            self._logger.warning(f'continuing with {state.info}')
        return True

    def _open(self, bundle: Bundle, values: DetectorParameters) -> FallbackEngine:
        cache = cache_folder()

        def verify(engine: Engine) -> None:
            self._loading = f'testing {engine.info}'
            if self._is_opening:  # else a frame waits for this engine
                blank = np.zeros((*engine.spec.input_size, 3), np.uint8)
                for _ in range(values.warmup):
                    engine.infer(blank)
            if not run_self_test(bundle, engine, cache):
                self._logger.warning(
                    'the bundle has no golden frames with clear detections: its accuracy on this '
                    'machine is untested'
                )

        options = EngineOptions(
            threads=values.threads,
            spinning=values.spinning,
            cache=cache,
            progress=self._on_progress,
            workspace_mib=values.workspace_mib,
            dla_core=values.dla_core,
            shared_device=values.shared_device,
        )
        self._loading = f"opening engine '{values.engine}'"
        return FallbackEngine(bundle, values.engine, options, values.precision, verify)

    def _on_progress(self, line: str) -> None:
        self._loading = sanitize_text(line)
        self._logger.info(self._loading, throttle_duration_sec=PROGRESS_PERIOD)
