"""A checkpoint to what flies: networks for every engine, measured and packed."""

from mnssd_training.export.calibration import (
    choose_calibration_samples,
    load_calibration_images,
)
from mnssd_training.export.deployment import (
    compose_deployment,
    Deployment,
    ExportSource,
    open_source,
    read_deployment_file,
    validate_deployment,
)
from mnssd_training.export.gate import (
    Progress,
)
from mnssd_training.export.hailo_compiler import (
    compile_hailo,
    HailoOptions,
    prepare_hailo,
)
from mnssd_training.export.hailo_network import (
    export_for_hailo,
    HailoNetwork,
)
from mnssd_training.export.onnx import (
    export_onnx,
    read_spec,
)
from mnssd_training.export.package import (
    bundle_path,
    package,
    PackageNotes,
)
from mnssd_training.export.quantize import (
    quantize_for_cpu,
    quantize_for_tensorrt,
)
from mnssd_training.export.sensitivity import (
    LayerSensitivity,
    measure_sensitivity,
    sensitivity_table,
)
from mnssd_training.export.variants import (
    convert_to_fp16,
    export_batch,
    export_decoded,
)

__all__ = [
    'bundle_path',
    'choose_calibration_samples',
    'compile_hailo',
    'compose_deployment',
    'convert_to_fp16',
    'Deployment',
    'export_batch',
    'export_decoded',
    'export_for_hailo',
    'export_onnx',
    'ExportSource',
    'HailoNetwork',
    'HailoOptions',
    'LayerSensitivity',
    'load_calibration_images',
    'measure_sensitivity',
    'open_source',
    'package',
    'PackageNotes',
    'prepare_hailo',
    'Progress',
    'quantize_for_cpu',
    'quantize_for_tensorrt',
    'read_deployment_file',
    'read_spec',
    'sensitivity_table',
    'validate_deployment',
]
