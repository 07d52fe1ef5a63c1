"""
Every member of TensorRT that mnssd and the fake use, held against records of the real bindings.

The files in ``trt_api`` were recorded by ``record_tensorrt_api.py``.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
import inspect
from pathlib import Path

from fake_tensorrt import CLASSES, make_tensorrt, read_record, VERSIONS
from mnssd_perception import engines
import pytest
from record_tensorrt_api import record_api

FILES = ('tensorrt_builder.py', 'tensorrt_engine.py')

# The class of the objects behind the names in these files; a leading underscore does not count.
OBJECTS = {
    'builder': 'Builder', 'config': 'IBuilderConfig', 'context': 'IExecutionContext',
    'definition': 'INetworkDefinition', 'engine': 'ICudaEngine', 'error': 'ParserError',
    'image': 'ITensor', 'parser': 'OnnxParser', 'profile': 'IOptimizationProfile',
    'runtime': 'Runtime', 'timings': 'ITimingCache',
}  # fmt: skip
CREATION_FLAGS = 'creation_flags'  # an enum behind a name

# What not every version has, and how the code takes that into account.
GUARDED = {
    ('8.6.1', 'IProgressMonitor'),  # hasattr
    ('8.6.1', 'IBuilderConfig.progress_monitor'),  # only with a monitor
    ('8.6.1', 'ParserError.node_name'),  # hasattr
    ('8.6.1', 'ParserError.node_operator'),
    *((version, 'OnnxParserFlag.ADJUST_FOR_DLA') for version in VERSIONS[:3]),  # hasattr
    ('11.4.0.106', 'NetworkDefinitionCreationFlag.EXPLICIT_BATCH'),  # the major version
    ('11.4.0.106', 'BuilderFlag.FP16'),
    ('11.4.0.106', 'BuilderFlag.INT8'),
}


def walk(name: str) -> Iterator[ast.AST]:
    path = Path(engines.__file__).parent / name
    return ast.walk(ast.parse(path.read_text()))


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f'{dotted(node.value)}.{node.attr}'
    return node.id if isinstance(node, ast.Name) else '?'


def used() -> set[str]:
    """List what the code uses: classes, members of classes and members of enums."""
    names = {'BuilderFlag.FP16', 'BuilderFlag.INT8'}  # from PRECISION_FLAGS
    for file in FILES:
        for node in walk(file):
            name = dotted(node).removeprefix('self.').replace('_trt.', 'trt.')
            owner, _, rest = name.partition('.')
            if owner == 'trt' and rest and not rest.startswith('__version__'):
                names.add(rest.removesuffix('.__init__'))
            elif owner.lstrip('_') in OBJECTS and rest and '.' not in rest:
                names.add(f'{OBJECTS[owner.lstrip("_")]}.{rest}')
            elif owner == CREATION_FLAGS and rest:
                names.add(f'NetworkDefinitionCreationFlag.{rest}')
    return names


def has(record: dict, name: str) -> bool:
    """Look a class, an enum or one of their members up in a record."""
    owner, _, member = name.rpartition('.')
    if name in record['classes'] or name in record['enums']:
        return True
    return member in record['enums'].get(owner, record['classes'].get(owner, ()))


def test_the_names_of_objects_are_those_in_the_code():
    names = used()
    for expected in (
        'Builder.build_serialized_network', 'ICudaEngine.get_tensor_mode', 'Runtime.DLA_core',
        'IExecutionContext.execute_async_v3', 'ParserError.desc', 'ILogger.Severity.ERROR',
        'ITimingCache.serialize', 'MemoryPoolType.WORKSPACE', 'IOptimizationProfile.set_shape',
        'NetworkDefinitionCreationFlag.EXPLICIT_BATCH', 'IProfiler', 'TensorIOMode.OUTPUT',
    ):  # fmt: skip
        assert expected in names
    assert len(names) > 60


@pytest.mark.parametrize('version', VERSIONS)
def test_every_member_that_the_code_uses_is_in_the_real_bindings(version):
    record = read_record(version)
    missing = {name for name in used() if not has(record, name)}
    assert missing == {name for other, name in GUARDED if other == version}, (
        'guard what a version lacks, and list it here'
    )


@pytest.mark.parametrize('version', VERSIONS)
def test_enums_are_never_written_as_numbers(version):
    # Their values differ between versions, so a literal would be right in some of them only.
    for file in FILES:
        for node in walk(file):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):
                shift = node.right
                is_mib = isinstance(shift, ast.Constant) and shift.value == 20
                assert is_mib or (isinstance(shift, ast.Call) and dotted(shift.func) == 'int')


@pytest.mark.parametrize(
    'removed', ['nptype', 'init_libnvinfer_plugins', 'volume', 'int8_calibrator']
)
def test_what_fails_in_some_version_is_not_used(removed):
    # nptype() of TensorRT 8 fails with NumPy 1.24; calibrators are gone from version 11 on.
    assert not [name for name in used() if removed in name]


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('name', CLASSES)
def test_the_fake_has_the_signatures_of_the_real_bindings(version, name):
    recorded = read_record(version)['classes'].get(name)
    if recorded is None:
        assert not hasattr(make_tensorrt(version, None), name)
        return
    for member, value in vars(CLASSES[name]).items():
        if member not in recorded:
            later = (read_record(other)['classes'][name] for other in VERSIONS[1:])
            assert member.startswith('_') or any(member in other for other in later)
        elif isinstance(value, property):
            assert value.fset is None or recorded[member] == 'rw', f'{name}.{member}'
        else:
            # The last ones may have defaults, such as the strategy of an execution context.
            parameters = list(inspect.signature(value).parameters)[1:]
            overloads = [overload[: len(parameters)] for overload in recorded[member]]
            assert parameters in overloads, f'{name}.{member}'


@pytest.mark.parametrize('version', VERSIONS)
def test_callbacks_have_the_parameters_of_the_real_bindings(version):
    # The bindings call them by position, and a missing parameter ends the process.
    classes = read_record(version)['classes']
    checked = 0
    for file in FILES:
        for node in walk(file):
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            recorded = classes.get(dotted(node.bases[0]).removeprefix('trt.'), {})
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name in recorded:
                    parameters = [argument.arg for argument in item.args.args][1:]
                    assert parameters in recorded[item.name]
                    checked += 1
    assert checked == (8 if 'IProgressMonitor' in classes else 4)


def test_a_subclass_calls_the_constructor_of_the_bindings():
    # Without it the bindings raise, or abort where they call back.
    for file in FILES:
        for node in walk(file):
            bases = [dotted(base) for base in getattr(node, 'bases', ())]
            if isinstance(node, ast.ClassDef) and bases[:1] and bases[0].startswith('trt.'):
                calls = [
                    dotted(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)
                ]
                assert f'{bases[0]}.__init__' in calls


def test_the_installed_bindings_are_as_recorded():
    for name in ('tensorrt', 'tensorrt_bindings'):
        try:
            trt = import_module(name)
            break
        except ImportError:
            continue
    else:
        pytest.skip('no bindings of TensorRT can be imported')
    if trt.__version__ not in VERSIONS:
        pytest.skip(f'there is no record of version {trt.__version__}')
    assert record_api(trt) == read_record(trt.__version__)
