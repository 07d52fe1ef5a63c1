"""The parameters of all nodes, which one section of a parameter file may hold together."""

from dataclasses import fields

from mnssd_perception.nodes.camera_parameters import CameraParameters
from mnssd_perception.nodes.detector_parameters import DetectorParameters
from mnssd_perception.nodes.recorder_parameters import RecorderParameters

__all__ = ['PARAMETER_NAMES']

PARAMETER_NAMES = frozenset(
    entry.name
    for kind in (CameraParameters, DetectorParameters, RecorderParameters)
    for entry in fields(kind)
)
