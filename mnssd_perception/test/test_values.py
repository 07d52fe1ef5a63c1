"""Values that are passed between units cannot be changed."""

from dataclasses import is_dataclass
from importlib import import_module
import pkgutil

import pytest

UNITS = (
    'bundle', 'detector', 'encodings', 'engines', 'image_file', 'matching', 'overlay',
    'self_test', 'ssd',
)  # fmt: skip


@pytest.mark.parametrize('unit', UNITS)
def test_dataclasses_are_frozen(unit):
    package = import_module(f'mnssd_perception.{unit}')
    modules = [package]
    for item in pkgutil.iter_modules(getattr(package, '__path__', [])):
        modules.append(import_module(f'{package.__name__}.{item.name}'))
    values = [
        value
        for module in modules
        for value in vars(module).values()
        if is_dataclass(value) and value.__module__ == module.__name__
    ]
    assert values
    assert [value for value in values if not value.__dataclass_params__.frozen] == []
