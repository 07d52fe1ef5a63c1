"""A bundle to a running engine, chosen by name or by what works here."""

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines.engine import Engine, EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError, EngineUnavailableError, SettingsError

# In the order in which 'auto' tries them.
ENGINES: dict[str, type[Engine]] = {'onnxruntime': OnnxRuntimeEngine}


def open_engine(
    bundle: Bundle, name: str = 'auto', options: EngineOptions | None = None
) -> Engine:
    """
    Load the network of a bundle.

    :param bundle: the bundle.
    :param name: of the engine; ``auto`` takes the first that has a network in the bundle and works
        on this machine.
    :param options: how it may use the machine.
    :return: the engine.
    :raises SettingsError: if there is no engine of that name.
    :raises EngineError: if the engine, or every one of them, cannot be used or fails to load.
    """
    options = options or EngineOptions()
    if name == 'auto':
        return _open_first(bundle, options)
    if name not in ENGINES:
        known = ', '.join(['auto', *ENGINES])
        raise SettingsError(f'engine: expected one of {known}, got {name!r}')
    if reason := ENGINES[name].available():
        raise EngineUnavailableError(name, reason)
    return ENGINES[name].open(bundle, options)


def _open_first(bundle: Bundle, options: EngineOptions) -> Engine:
    """Open the first engine that works, or say of each why it does not."""
    reasons = []
    for name, kind in ENGINES.items():
        reason = kind.available()
        if reason is None:
            try:
                return kind.open(bundle, options)
            except EngineError as error:
                reason = str(error)
        reasons.append(f'{name}: {reason}')
    raise EngineError(f'no engine can run this bundle here; {"; ".join(reasons)}')
