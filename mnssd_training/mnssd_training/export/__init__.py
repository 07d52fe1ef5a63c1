"""A checkpoint to what flies: an ONNX network, checked and packed."""

from mnssd_training.export.onnx import export_onnx, read_spec
from mnssd_training.export.package import bundle_path, package, PackageNotes
from mnssd_training.export.parity import check_parity, Parity
from mnssd_training.export.variants import (
    convert_to_fp16,
    DecodedNetwork,
    export_batch,
    export_decoded,
)

__all__ = [
    'bundle_path',
    'check_parity',
    'convert_to_fp16',
    'DecodedNetwork',
    'export_batch',
    'export_decoded',
    'export_onnx',
    'package',
    'PackageNotes',
    'Parity',
    'read_spec',
]
