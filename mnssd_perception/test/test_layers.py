"""Who may import whom: one table, and every import of both packages held against it."""

import ast
from collections.abc import Iterator
import os
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Unit (a folder or a module of a package) -> the units of this repository that it may import.
LAYERS = {
    'mnssd_perception': {
        'bundle': {'errors', 'plain', 'ssd'},
        'cli': {'bundle', 'detector', 'engines', 'errors', 'latency', 'overlay', 'sources', 'ssd'},
        'detector': {'bundle', 'engines', 'errors', 'ssd'},
        'engines': {'bundle', 'errors', 'ssd'},
        'errors': set(),
        'latency': set(),
        'mailbox': set(),
        'nodes': {
            'bundle',
            'detector',
            'engines',
            'errors',
            'latency',
            'mailbox',
            'overlay',
            'recording',
            'ros',
            'sources',
            'ssd',
        },
        'overlay': {'ssd'},
        'plain': {'errors'},
        'recording': {'errors', 'latency', 'overlay', 'ssd'},
        'ros': {'errors', 'ssd', 'thermal'},
        'sources': {'errors', 'ssd', 'thermal'},
        'ssd': {'errors', 'plain'},
        'thermal': set(),
    },
    'mnssd_training': {
        '__main__': {'cli'},
        'bench': {'config', 'data', 'errors', 'evaluation', 'export', 'model', 'train'},
        'cli': {'config', 'data', 'errors', 'evaluation', 'export', 'model', 'train'},
        'config': {'data', 'errors', 'loss', 'model'},
        'data': {'errors'},
        'errors': set(),
        'evaluation': {'data', 'errors', 'model'},
        'export': {'data', 'errors', 'evaluation', 'model', 'train'},
        'loss': {'errors'},
        'model': {'errors'},
        'priors': {'data', 'errors'},
        'train': {'config', 'data', 'errors', 'evaluation', 'loss', 'model', 'priors'},
    },
}

# What training may import of perception; its command line may also draw.
SHARED = {'bundle', 'detector', 'engines', 'errors', 'plain', 'ssd'}
SHARED_WITH_CLI = SHARED | {'overlay'}

# Foreign package -> the units that may import it.
FOREIGN = {
    'cv2': {
        'mnssd_perception.cli',
        'mnssd_perception.overlay',
        'mnssd_perception.recording',
        'mnssd_perception.ros',
        'mnssd_perception.sources',
        'mnssd_perception.ssd',
        'mnssd_training.bench',
        'mnssd_training.cli',
        'mnssd_training.data',
    },
    'onnx': {'mnssd_training.export'},
    'pycocotools': {'mnssd_training.evaluation'},
    'torch': {f'mnssd_training.{unit}' for unit in LAYERS['mnssd_training']},
    'torchvision': {f'mnssd_training.{unit}' for unit in LAYERS['mnssd_training']},
    **{
        name: {'mnssd_perception.nodes', 'mnssd_perception.ros'}
        for name in (
            'ament_index_python',
            'builtin_interfaces',
            'cv_bridge',
            'diagnostic_msgs',
            'lifecycle_msgs',
            'mnssd_msgs',
            'rcl_interfaces',
            'rclpy',
            'sensor_msgs',
            'std_msgs',
            'vision_msgs',
        )
    },
}

# Runtime of a vendor -> the one file of each package that imports it, inside a function.
RUNTIMES = {
    'cuda': set(),
    'hailo_platform': set(),
    'onnxruntime': {
        'mnssd_perception/engines/onnxruntime_engine.py',
        'mnssd_training/bench/engine.py',  # measures against the bare runtime
    },
    'tensorrt': set(),
}

# These import on any machine with NumPy, OpenCV and nothing else.
PURE = ('ssd', 'bundle', 'engines', 'detector', 'errors', 'overlay', 'sources', 'mailbox')
HEAVY = (*RUNTIMES, 'mnssd_training', 'rclpy', 'sensor_msgs', 'torch', 'vision_msgs')


def package_folder(package: str) -> Path:
    return ROOT / package / package


def units(package: str) -> set[str]:
    folder = package_folder(package)
    modules = {path.stem for path in folder.glob('*.py')} - {'__init__'}
    return modules | {path.relative_to(folder).parts[0] for path in folder.glob('*/**/*.py')}


def files(package: str) -> list[Path]:
    return sorted(package_folder(package).rglob('*.py'))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported name with dots, and whether that happens inside a function."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: expected absolute imports'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in inner


def unit_of(package: str, path: Path) -> str:
    return path.relative_to(package_folder(package)).parts[0].removesuffix('.py')


def complaint(package: str, unit: str, imported: str) -> str | None:
    """Say what is wrong with an import of one of our own names, if anything is."""
    target, _, rest = imported.partition('.')
    target_unit = rest.partition('.')[0]
    if target not in LAYERS or target_unit not in LAYERS[target]:
        return None  # foreign, or the package itself
    if target == package:
        allowed = LAYERS[package].get(unit, set()) | {unit}
    elif package == 'mnssd_training':
        allowed = SHARED_WITH_CLI if unit == 'cli' else SHARED
    else:
        allowed = set()
    return None if target_unit in allowed else f'{package}.{unit} imports {imported}'


@pytest.mark.parametrize('package', LAYERS)
def test_the_table_lists_what_there_is(package: str) -> None:
    assert units(package) == set(LAYERS[package])


@pytest.mark.parametrize('package', LAYERS)
def test_our_own_imports_keep_the_layers(package: str) -> None:
    found = [
        complaint(package, unit_of(package, path), name)
        for path in files(package)
        for name, _ in imports(path)
    ]
    assert [words for words in found if words] == []


def test_a_breach_is_noticed() -> None:
    assert complaint('mnssd_perception', 'ssd', 'mnssd_perception.ros.images')
    assert complaint('mnssd_perception', 'cli', 'mnssd_perception.nodes.camera_node.main')
    assert complaint('mnssd_perception', 'detector', 'mnssd_training.model')
    assert complaint('mnssd_training', 'train', 'mnssd_perception.nodes')
    assert complaint('mnssd_training', 'train', 'mnssd_perception.ssd.decode') is None


def test_the_table_has_no_circles() -> None:
    for package, table in LAYERS.items():
        done: set[str] = set()
        while ready := {unit for unit in table if table[unit] <= done} - done:
            done |= ready
        assert done == set(table), f'{package}: in circles {sorted(set(table) - done)}'


def test_nothing_imports_nodes_or_the_command_line() -> None:
    for table in LAYERS.values():
        for unit, allowed in table.items():
            assert 'nodes' not in allowed
            assert 'cli' not in allowed or unit == '__main__'


@pytest.mark.parametrize('package', LAYERS)
def test_foreign_packages_stay_where_they_belong(package: str) -> None:
    found = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in files(package)
        for name, _ in imports(path)
        if (top := name.partition('.')[0]) in FOREIGN
        and f'{package}.{unit_of(package, path)}' not in FOREIGN[top]
    ]
    assert found == []


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_a_runtime_is_imported_in_its_own_file_and_on_use(runtime: str) -> None:
    found = {
        str(path.relative_to(ROOT / package)): on_use
        for package in LAYERS
        for path in files(package)
        for name, on_use in imports(path)
        if name.partition('.')[0] == runtime
    }
    assert set(found) == RUNTIMES[runtime]
    assert all(found.values()), f'expected imports of {runtime} inside functions, got {found}'


@pytest.mark.parametrize('unit', PURE)
def test_imports_without_ros_torch_or_a_vendor(unit: str) -> None:
    names = ', '.join(map(repr, HEAVY))
    script = (
        f'import sys, mnssd_perception.{unit}\n'
        f'print(*[name for name in ({names}) if name in sys.modules])'
    )
    env = {'PYTHONPATH': str(ROOT / 'mnssd_perception'), '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}
    ran = subprocess.run(
        [sys.executable, '-c', script],
        env={**env, 'PATH': os.environ.get('PATH', '')},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == []
