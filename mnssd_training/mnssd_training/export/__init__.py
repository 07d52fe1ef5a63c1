"""A checkpoint to what flies: networks for every engine, measured and packed."""

from mnssd_training.export.deployment import (
    compose_deployment,
    Deployment,
    ExportSource,
    open_source,
    read_deployment_file,
    validate_deployment,
)
from mnssd_training.export.gate import Progress
from mnssd_training.export.onnx import export_onnx, read_spec
from mnssd_training.export.package import bundle_path, package, PackageNotes
from mnssd_training.export.parity import check_parity, Parity

__all__ = [
    'bundle_path',
    'check_parity',
    'compose_deployment',
    'Deployment',
    'export_onnx',
    'ExportSource',
    'open_source',
    'package',
    'PackageNotes',
    'Parity',
    'Progress',
    'read_deployment_file',
    'read_spec',
    'validate_deployment',
]
