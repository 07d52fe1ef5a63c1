"""The networks that a bundle can hold, and the engines that measure them on this machine."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine, EngineOptions, ENGINES
from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import ArtefactName, ExportConfig, GateConfig
from mnssd_training.errors import ExportError
from mnssd_training.evaluation.detect import measure_speed, Speed
from mnssd_training.export.gate import (
    check_artefact,
    choose_limits,
    GateReport,
    Progress,
    Reference,
)
from mnssd_training.export.hailo_compiler import check_compiler

# Opens a step of the export, by its title and the number of its images; 0 for none.
Step = Callable[[str, int], AbstractContextManager[Progress]]

Runners = Mapping[str, str]  # engine -> the engine that runs its networks on this machine


@dataclass(frozen=True)
class NetworkFile:
    """
    A network in a bundle.

    :ivar path: in the bundle.
    :ivar engines: that run it; each gets an artefact with a verdict of its own.
    """

    path: str
    precision: str
    engines: tuple[str, ...]
    has_batch: bool = False


@dataclass(frozen=True)
class Measurement:
    """
    A network, measured for one engine.

    :ivar runner: the engine that ran it.
    :ivar speed: None where another engine ran it, which is faster or slower.
    """

    name: ArtefactName
    engine: str
    runner: str
    report: GateReport
    speed: Speed | None

    def __str__(self) -> str:
        return f'{self.name} in {self.engine}'


NETWORKS: dict[ArtefactName, NetworkFile] = {
    'fp32': NetworkFile('network.onnx', 'fp32', ('onnxruntime', 'openvino')),
    'batch': NetworkFile('network_batch.onnx', 'fp32', ('onnxruntime', 'openvino'), True),
    'fp16': NetworkFile('network_fp16.onnx', 'fp16', ('tensorrt',)),
    'int8': NetworkFile('network_int8.onnx', 'int8', ('onnxruntime', 'openvino')),
    'int8_tensorrt': NetworkFile('network_int8_tensorrt.onnx', 'int8', ('tensorrt',)),
    'hailo': NetworkFile('network.hef', 'int8', ('hailo',)),
}

# Which engine runs the networks of another one that is not at hand; that for Hailo comes with its
# compiler. Where the kernels of an engine round in their own way, as those of OpenVINO do, a
# network gets no artefact without it.
EMULATOR = 'hailo emulator'
STAND_INS = {'tensorrt': 'onnxruntime', 'hailo': EMULATOR}


def choose_runners(config: ExportConfig) -> tuple[Runners, tuple[str, ...]]:
    """
    Choose what runs the networks of each engine on this machine: the engine itself, if it can.

    :return: the runner by engine, and why engines without one are left out.
    :raises ExportError: if nothing on this machine can run one of the networks, or the compiler
        for Hailo is missing.
    """
    names = config.artefacts
    runners: dict[str, str] = {}
    reasons: dict[str, str] = {}
    if 'hailo' in names:
        check_compiler(config.hailo.arch)
    for engine in dict.fromkeys(engine for name in names for engine in NETWORKS[name].engines):
        reason = ENGINES[engine].available()
        if engine == 'hailo' or (reason and engine in STAND_INS):
            runners[engine] = STAND_INS[engine]
        elif reason is None:
            runners[engine] = engine
        else:
            reasons[engine] = f'{engine}: {reason}'
    for name in names:
        engines = NETWORKS[name].engines
        if not runners.keys() & engines:
            raise ExportError(
                f'{name}: expected an engine that can measure it here, got '
                f'{"; ".join(reasons[engine] for engine in engines)}; leave it out with '
                f'export.artefacts=[{",".join(other for other in names if other != name)}]'
            )
    return runners, tuple(reasons.values())


def open_network(spec: ModelSpec, name: ArtefactName, network: bytes, runner: str) -> Engine:
    """
    Open a network in an engine.

    :raises ExportError: if it cannot be loaded.
    """
    file = NETWORKS[name]
    try:
        return ENGINES[runner](spec, network, EngineOptions(), file.precision)
    except EngineError as error:
        raise ExportError(f'{file.path} cannot be loaded in {runner}: {error}') from error


def measure_network(
    reference: Reference,
    spec: ModelSpec,
    name: ArtefactName,
    network: bytes,
    runners: Runners,
    config: GateConfig,
    step: Step,
) -> list[Measurement]:
    """
    Measure a network in each of its engines.

    :raises ExportError: if an engine cannot load or run it.
    """
    measurements = []
    for engine in NETWORKS[name].engines:
        if engine not in runners:
            continue
        runner = runners[engine]
        opened = open_network(spec, name, network, runner)
        limits = choose_limits(config, NETWORKS[name].precision)
        speed = None
        try:
            with step(f'{name}: measuring in {runner}', len(reference.samples)) as advance:
                report = check_artefact(reference, opened, limits, advance)
            if runner == engine and not NETWORKS[name].has_batch:
                with step(f'{name}: speed in {runner}', 0):
                    detector = Detector(opened, reference.thresholds)
                    speed = measure_speed(detector, reference.samples)
        except EngineError as error:
            raise ExportError(f'{NETWORKS[name].path} in {runner}: {error}') from error
        finally:
            opened.close()
        measurements.append(Measurement(name, engine, runner, report, speed))
    return measurements
