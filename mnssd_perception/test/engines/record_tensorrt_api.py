"""
Record which members the Python bindings of TensorRT have.

    python record_tensorrt_api.py > trt_api/VERSION.json

Needs a module ``tensorrt`` or ``tensorrt_bindings`` that can be imported, but no GPU. The wheels
of the bindings (``tensorrt-cu13-bindings`` and others on PyPI) import without the libraries of
TensorRT when stand-ins with the same names define the few functions that they are linked to.
"""

from importlib import import_module
import json
import re
import sys
from types import ModuleType

CLASSES = (
    'Builder', 'IBuilderConfig', 'ICudaEngine', 'IExecutionContext', 'IHostMemory', 'ILogger',
    'INetworkDefinition', 'IOptimizationProfile', 'IProfiler', 'IProgressMonitor', 'ITensor',
    'ITimingCache', 'OnnxParser', 'ParserError', 'Runtime',
)  # fmt: skip
ENUMS = (
    'BuilderFlag', 'DataType', 'DeviceType', 'ILogger.Severity', 'MemoryPoolType',
    'NetworkDefinitionCreationFlag', 'OnnxParserFlag', 'ProfilingVerbosity', 'TensorIOMode',
)  # fmt: skip
SKIPPED = re.compile(r'_(?!_init__$)|add_(?!optimization_profile)')  # private, and layers


def record_api(trt: ModuleType) -> dict:
    """List members: of a method the parameters of each overload, of an attribute how to use it."""
    return {
        'version': trt.__version__,
        'classes': {name: _members(getattr(trt, name)) for name in CLASSES if hasattr(trt, name)},
        'enums': {name: _values(trt, name) for name in ENUMS},
    }


def _members(cls: type) -> dict[str, object]:
    return {
        name: _describe(cls, name)
        for name in sorted(dir(cls))
        if not SKIPPED.match(name) and _is_own(cls, name)
    }


def _is_own(cls: type, name: str) -> bool:
    """Skip the constructor of object, enums inside classes and their values."""
    member = getattr(cls, name)
    is_method = (member.__doc__ or '').startswith(name)
    return isinstance(member, property) or is_method or (name == '__init__' and is_method)


def _describe(cls: type, name: str) -> object:
    member = getattr(cls, name)
    if isinstance(member, property):
        return 'ro' if member.fset is None else 'rw'
    signatures = re.findall(rf'(?m)^(?:\d+\. )?{name}\((.*)\)', member.__doc__)
    return [
        re.findall(r'(?:^|, )(\w+): ', parameters)[1:]
        for parameters in signatures
        if '*args' not in parameters  # the heading of a list of overloads
    ]


def _values(trt: ModuleType, name: str) -> dict[str, int]:
    enum = trt
    for part in name.split('.'):
        enum = getattr(enum, part)
    return {key: int(value) for key, value in sorted(enum.__members__.items())}


def _import() -> ModuleType:
    try:
        return import_module('tensorrt')
    except ImportError:
        return import_module('tensorrt_bindings')


if __name__ == '__main__':
    json.dump(record_api(_import()), sys.stdout, indent=0, sort_keys=True)
    print()
