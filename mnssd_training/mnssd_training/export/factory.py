"""Make the networks of a bundle from a checkpoint, and measure each in its engines."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from mnssd_perception.bundle import GateVerdict
from mnssd_perception.engines import Engine
from mnssd_perception.errors import MnssdError
from mnssd_training.config import ArtefactName, ExportConfig
from mnssd_training.data.sample import Sample
from mnssd_training.export.artefacts import (
    EMULATOR,
    measure_network,
    Measurement,
    Runners,
    Step,
)
from mnssd_training.export.calibration import (
    calibration_digest,
    choose_calibration_samples,
    load_calibration_images,
)
from mnssd_training.export.gate import check_artefact, choose_limits, Reference
from mnssd_training.export.hailo_compiler import compile_hailo
from mnssd_training.export.hailo_network import export_for_hailo
from mnssd_training.export.quantize import (
    quantize_for_cpu,
    quantize_for_tensorrt,
    quantize_until_accepted,
    QuantizedNetwork,
)
from mnssd_training.export.sensitivity import LayerSensitivity, measure_sensitivity
from mnssd_training.export.variants import convert_to_fp16, export_batch
from mnssd_training.model import MobileNetSsd
import numpy as np
from numpy.typing import NDArray

NUM_SENSITIVITY = 8  # calibration images on which the sensitivity of layers is measured

Quantize = Callable[[bytes, Sequence[NDArray[np.uint8]], Collection[str]], bytes]


@dataclass(frozen=True)
class MadeNetwork:
    """
    A network with its measurements.

    :ivar details: how it was made, for the metrics of its artefacts.
    :ivar layers: the sensitivity of its layers, where that was measured.
    """

    name: ArtefactName
    network: bytes
    measurements: tuple[Measurement, ...]
    details: dict[str, Any] = field(default_factory=dict)
    layers: tuple[LayerSensitivity, ...] = ()

    @property
    def has_passed(self) -> bool:
        """Whether it passed the gate in each of its engines."""
        return all(item.report.verdict.passed for item in self.measurements)


class NetworkFactory:
    """Makes and measures the networks of one checkpoint."""

    def __init__(
        self,
        model: MobileNetSsd,
        network: bytes,
        reference: Reference,
        train: Sequence[Sample],
        runners: Runners,
        config: ExportConfig,
        step: Step,
    ) -> None:
        self._model, self._network, self._reference = model, network, reference
        self._train, self._runners, self._config, self._step = train, runners, config, step

    def make(self, name: ArtefactName) -> MadeNetwork:
        """Make a network and measure it."""
        config = self._config.quantization
        makers: dict[ArtefactName, Callable[[], MadeNetwork]] = {
            'fp32': lambda: self._measured('fp32', self._network),
            'batch': lambda: self._measured('batch', export_batch(self._model)),
            'fp16': lambda: self._measured('fp16', convert_to_fp16(self._network)),
            'int8': lambda: self._quantized(
                'int8',
                partial(quantize_for_cpu, method=config.method, reduce_range=config.reduce_range),
            ),
            'int8_tensorrt': lambda: self._quantized('int8_tensorrt', quantize_for_tensorrt),
            'hailo': self._compiled,
        }
        return makers[name]()

    def _measured(self, name: ArtefactName, network: bytes) -> MadeNetwork:
        return MadeNetwork(name, network, tuple(self._measure(name, network)))

    def _measure(self, name: ArtefactName, network: bytes) -> list[Measurement]:
        return measure_network(
            self._reference,
            self._model.spec,
            name,
            network,
            self._runners,
            self._config.gate,
            self._step,
        )

    def _quantized(self, name: ArtefactName, quantize: Quantize) -> MadeNetwork:
        """Quantise, with sensitive layers left in float32 where the gate demands it."""
        images = self._images
        measured: dict[bytes, list[Measurement]] = {}

        @cache  # the first is made before the layers are measured, and asked for again
        def make(excluded: tuple[str, ...]) -> bytes:
            with self._step(f'{name}: quantising, {len(excluded)} layers in float', 0):
                return quantize(self._network, images, excluded)

        def check(network: bytes) -> GateVerdict:
            """Judge by the engine that does worst."""
            if network not in measured:
                measured[network] = self._measure(name, network)
            verdicts = [item.report.verdict for item in measured[network]]
            return min(verdicts, key=lambda verdict: (verdict.passed, verdict.map50))

        accepted = QuantizedNetwork(make(()), (), check(make(())))
        layers: tuple[LayerSensitivity, ...] = ()
        if not accepted.verdict.passed:
            few = images[:: max(1, len(images) // NUM_SENSITIVITY)][:NUM_SENSITIVITY]
            with self._step(f'{name}: sensitivity of layers', 0):
                layers = measure_sensitivity(self._network, accepted.network, few)
            accepted = quantize_until_accepted(
                self._network,
                lambda excluded: make(tuple(excluded)),
                check,
                [layer.layer for layer in layers],
                self._config.quantization.max_excluded,
            )
        network, measurements = accepted.network, tuple(measured[accepted.network])
        details = {'calibration': self._calibration, 'layers_in_float': list(accepted.excluded)}
        return MadeNetwork(name, network, measurements, details, layers)

    def _compiled(self) -> MadeNetwork:
        """Compile for a Hailo chip; the emulator stands in for it in the gate."""
        reports = []

        def check(engine: Engine) -> None:
            limits = choose_limits(self._config.gate, 'int8')
            with self._step('hailo: measuring in the emulator', len(self._reference.samples)) as n:
                reports.append(check_artefact(self._reference, engine, limits, n))
            if not reports[0].verdict.passed:
                raise _NotCompiledError

        network, hef = export_for_hailo(self._model), b''
        with suppress(_NotCompiledError):
            hef = compile_hailo(network, self._images, self._config.hailo.arch, check=check)
        measurement = Measurement('hailo', 'hailo', EMULATOR, reports[0], None)
        details = {'calibration': self._calibration}
        return MadeNetwork('hailo', hef, (measurement,), details)

    @cached_property
    def _images(self) -> list[NDArray[np.uint8]]:
        """Choose and load the calibration images."""
        config = self._config.quantization
        with self._step('choosing calibration images', 0):
            source: Path | list[Sample] = Path(config.calibration_images)
            if not config.calibration_images:
                num = min(config.num_calibration, len(self._train))
                source = choose_calibration_samples(self._train, num)
            return load_calibration_images(source, self._model.spec)

    @property
    def _calibration(self) -> dict[str, Any]:
        return {'num_images': len(self._images), 'digest': calibration_digest(self._images)}


class _NotCompiledError(MnssdError):
    """The gate refused a network before it was compiled."""
