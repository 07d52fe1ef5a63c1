"""Who may import whom: one table, and every import of both packages held against it."""

import ast
from collections.abc import Iterable, Iterator
import os
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Unit (a folder or a module of a package) -> the units of this repository that it may import.
LAYERS = {
    'mnssd_perception': {
        '__main__': {'commands'},
        'benchmark': {
            'bundle',
            'commands',
            'detector',
            'engines',
            'errors',
            'self_test',
            'serialization',
            'text',
        },
        'bundle': {'errors', 'files', 'serialization', 'ssd', 'text'},
        'cli': {
            'benchmark',
            'bundle',
            'commands',
            'detector',
            'encodings',
            'engines',
            'errors',
            'files',
            'image_file',
            'latency',
            'overlay',
            'recording',
            'self_test',
            'sources',
            'ssd',
            'text',
        },
        'commands': {'errors', 'files', 'text'},
        'detector': {'engines', 'errors', 'ssd'},
        'encodings': {'errors', 'ssd', 'text', 'thermal'},
        'engines': {'bundle', 'errors', 'files', 'ssd', 'text'},
        'errors': {'text'},
        'files': set(),
        'image_file': {'encodings', 'errors', 'ssd'},
        'latency': set(),
        'mailbox': set(),
        'matching': {'ssd'},
        'nodes': {
            'bundle',
            'detector',
            'engines',
            'errors',
            'files',
            'latency',
            'mailbox',
            'overlay',
            'recording',
            'ros',
            'self_test',
            'sources',
            'ssd',
            'text',
        },
        'overlay': {'ssd'},
        'recording': {'errors', 'latency', 'overlay', 'ssd', 'text'},
        'ros': {'encodings', 'errors', 'ssd', 'text', 'thermal'},
        'sources': {'errors', 'image_file', 'ssd', 'text'},
        'serialization': {'errors'},
        'self_test': {
            'bundle',
            'detector',
            'engines',
            'errors',
            'files',
            'image_file',
            'matching',
            'ssd',
        },
        'ssd': {'errors'},
        'text': set(),
        'thermal': set(),
    },
    'mnssd_training': {
        '__main__': set(),
        'bag_import': {'inspection'},
        'cli': {
            'bag_import',
            'config',
            'data',
            'errors',
            'evaluation',
            'export',
            'inspection',
            'metrics_file',
            'model',
            'predictor',
            'priors',
            'reporting',
            'suite',
            'train',
        },
        'config': {'errors'},
        'data': {'config', 'errors', 'priors'},
        'errors': set(),
        'evaluation': {'config', 'data', 'errors', 'metrics_file', 'model', 'reporting'},
        'export': {
            'config',
            'data',
            'errors',
            'evaluation',
            'loss',
            'model',
            'reporting',
            'train',
        },
        'inspection': {'config', 'data', 'errors', 'priors', 'reporting'},
        'loss': {'config', 'errors'},
        'metrics_file': set(),
        'model': {'config', 'errors', 'torch_file'},
        'predictor': {'errors', 'export', 'model', 'train'},
        'priors': {'config', 'errors'},
        'reporting': set(),
        'suite': {'config', 'errors', 'metrics_file', 'reporting', 'train'},
        'torch_file': {'errors'},
        'train': {
            'config',
            'data',
            'errors',
            'evaluation',
            'loss',
            'metrics_file',
            'model',
            'priors',
            'reporting',
            'torch_file',
        },
    },
}

# What training may import of perception, and what single units may besides.
SHARED = {
    'bundle',
    'detector',
    'engines',
    'errors',
    'files',
    'image_file',
    'matching',
    'serialization',
    'ssd',
    'text',
}
SHARED_BESIDES = {
    '__main__': {'commands'},
    'cli': {'commands', 'encodings', 'overlay', 'recording', 'sources'},
    'data': {'encodings', 'text'},
    'export': {'self_test'},
    'inspection': {'encodings', 'overlay'},
    'reporting': {'overlay'},
    'train': {'overlay'},
}

# The others do without it, so that an experiment or a dataset is looked at in no time.
WITH_TORCH = (
    'cli',
    'data',
    'evaluation',
    'export',
    'loss',
    'model',
    'predictor',
    'torch_file',
    'train',
)

# Foreign package or part of one -> the units that may import it.
FOREIGN = {
    'cv2': {
        'mnssd_perception.cli',
        'mnssd_perception.encodings',
        'mnssd_perception.image_file',
        'mnssd_perception.nodes',  # an exception of OpenCV's
        'mnssd_perception.overlay',
        'mnssd_perception.recording',
        'mnssd_perception.ros',
        'mnssd_perception.self_test',
        'mnssd_perception.sources',
        'mnssd_perception.ssd',
        'mnssd_perception.thermal',
        'mnssd_training.cli',
        'mnssd_training.data',
        'mnssd_training.evaluation',
        'mnssd_training.bag_import',
        'mnssd_training.inspection',
        'mnssd_training.reporting',
    },
    'aiohttp': set(),  # fsspec finds both by the address
    's3fs': set(),
    'faster_coco_eval': {'mnssd_training.evaluation'},
    'fsspec': {'mnssd_training.data', 'mnssd_training.train'},
    'jinja2': {'mnssd_training.reporting'},
    'lightning_fabric': {'mnssd_training.train'},
    'matplotlib': {'mnssd_training.reporting'},
    'onnx': {'mnssd_training.export', 'mnssd_training.model'},
    'PIL': {
        'mnssd_perception.image_file',
        *(f'mnssd_training.{unit}' for unit in ('data', 'inspection')),
    },
    'pycocotools': {'mnssd_training.evaluation'},
    'pydantic': {
        f'mnssd_training.{unit}' for unit in ('config', 'data', 'export', 'suite', 'train')
    },
    'rosbags': {'mnssd_training.data'},
    'timm': {'mnssd_training.model'},
    'torch': {f'mnssd_training.{unit}' for unit in WITH_TORCH},
    'torch.distributed': {'mnssd_training.model', 'mnssd_training.train'},
    'torch.utils.tensorboard': {'mnssd_training.train'},
    'torchvision': {f'mnssd_training.{unit}' for unit in ('export', 'loss', 'model')},
    'tqdm': {'mnssd_training.cli', 'mnssd_training.train'},
    'webdataset': set(),  # reads our shards in a test
    'yaml': {f'mnssd_training.{unit}' for unit in ('cli', 'config', 'data', 'inspection')},
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

# Runtime of a vendor, or what few install -> the files that import it, inside a function.
RUNTIMES = {
    'cuda': set(),
    'hailo_platform': {'mnssd_perception/engines/hailo_engine.py'},
    'hailo_sdk_client': {'mnssd_training/export/hailo_compiler.py'},
    'mlflow': {'mnssd_training/train/loggers.py'},
    'onnxruntime': {
        'mnssd_perception/engines/onnxruntime_engine.py',
        'mnssd_training/export/quantize.py',
        'mnssd_training/export/validation.py',
        'mnssd_training/export/variants.py',
    },
    'openvino': {'mnssd_perception/engines/openvino_engine.py'},
    'tensorrt': {'mnssd_perception/engines/tensorrt_engine.py'},
    'wandb': {'mnssd_training/train/loggers.py'},
}

# These import on any machine with NumPy, OpenCV and nothing else.
PURE = (
    'benchmark',
    'bundle',
    'detector',
    'encodings',
    'engines',
    'errors',
    'image_file',
    'mailbox',
    'matching',
    'overlay',
    'self_test',
    'sources',
    'ssd',
)
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
        allowed = SHARED | SHARED_BESIDES.get(unit, set())
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
    assert complaint('mnssd_training', 'train', 'mnssd_perception.ssd.decode_boxes') is None


def test_the_table_has_no_circles() -> None:
    for package, table in LAYERS.items():
        done: set[str] = set()
        while ready := {unit for unit in table if table[unit] <= done} - done:
            done |= ready
        assert done == set(table), f'{package}: in circles {sorted(set(table) - done)}'


def test_nothing_imports_nodes_or_the_command_line() -> None:
    for table in LAYERS.values():
        for allowed in table.values():
            assert {'nodes', 'cli'}.isdisjoint(allowed)


@pytest.mark.parametrize('package', LAYERS)
def test_foreign_packages_stay_where_they_belong(package: str) -> None:
    found = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in files(package)
        for name, _ in imports(path)
        for part in FOREIGN
        if f'{name}.'.startswith(f'{part}.')
        and f'{package}.{unit_of(package, path)}' not in FOREIGN[part]
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
    assert loaded_with(f'mnssd_perception.{unit}', HEAVY) == []


def test_an_experiment_is_read_without_torch() -> None:
    pytest.importorskip('pydantic')
    heavy = [name for name in (*HEAVY, 'lightning_fabric', 'timm') if name != 'mnssd_training']
    assert loaded_with('mnssd_training.config', heavy) == []


def loaded_with(module: str, names: Iterable[str]) -> list[str]:
    """Import a module in a process of its own, and tell which of some others come with it."""
    script = (
        f'import sys, {module}\nprint(*[name for name in {list(names)} if name in sys.modules])'
    )
    folders = os.pathsep.join(str(ROOT / package) for package in LAYERS)
    env = {'PYTHONPATH': folders, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}
    ran = subprocess.run(
        [sys.executable, '-c', script],
        env={**env, 'PATH': os.environ.get('PATH', '')},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()
