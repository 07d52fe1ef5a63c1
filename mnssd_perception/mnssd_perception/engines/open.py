"""Open a network in the engine that is named, or in the first that works on this machine."""

from collections.abc import Callable

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines.engine import Engine, EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError, EngineUnavailableError, SettingsError
from mnssd_perception.ssd import ModelSpec

# In the order in which 'auto' tries them.
ENGINES = {'onnxruntime': OnnxRuntimeEngine}


def open_engine(
    bundle: Bundle, name: str = 'auto', options: EngineOptions = EngineOptions()
) -> Engine:
    """
    Open the network of a bundle.

    :param name: an engine; ``auto`` takes the first that has a network in the bundle and works on
        this machine.
    :raises SettingsError: if there is no engine of that name.
    :raises EngineError: if the engine, or every one of them, cannot be used or fails to load.
    """

    def load(engine: str) -> tuple[bytes, str]:
        artefact = bundle.artefact(engine)
        if artefact is None:
            raise EngineError(f"bundle '{bundle.path}' has no network for engine '{engine}'")
        return bundle.read(artefact.path), artefact.precision

    return _open(bundle.manifest.spec, load, name, options)


def open_onnx(
    spec: ModelSpec, network: bytes, name: str = 'auto', options: EngineOptions = EngineOptions()
) -> Engine:
    """
    Open a serialised ONNX network in float32; otherwise like :func:`open_engine`.

    :raises SettingsError: if there is no engine of that name.
    :raises EngineError: if the engine, or every one of them, cannot be used or fails to load.
    """
    return _open(spec, lambda _: (network, 'fp32'), name, options)


def _open(
    spec: ModelSpec,
    load: Callable[[str], tuple[bytes, str]],
    name: str,
    options: EngineOptions,
) -> Engine:
    if name != 'auto' and name not in ENGINES:
        raise SettingsError(
            f'engine: expected one of {", ".join(["auto", *ENGINES])}, got {name!r}'
        )
    reasons = []
    for engine in ENGINES if name == 'auto' else (name,):
        try:
            network, precision = load(engine)
            return ENGINES[engine](spec, network, options, precision)
        except EngineError as error:
            if name != 'auto':
                raise
            reason = error.reason if isinstance(error, EngineUnavailableError) else str(error)
            reasons.append(f'{engine}: {reason}')
    raise EngineError(f'no engine can run this network here; {"; ".join(reasons)}')
