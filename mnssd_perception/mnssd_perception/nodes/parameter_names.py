"""The parameters of all nodes, which one section of a parameter file may hold together."""

from dataclasses import fields

from mnssd_perception.nodes.camera_parameters import CameraParameters
from mnssd_perception.nodes.detector_parameters import DetectorParameters
from mnssd_perception.nodes.recorder_parameters import RecorderParameters

PARAMETER_NAMES = frozenset(
    entry.name
    for kind in (CameraParameters, DetectorParameters, RecorderParameters)
    for entry in fields(kind)
)

# The topics whose QoS can be overridden in one of the nodes, at which end.
OVERRIDABLE = (
    ('image', 'publisher'),
    ('image', 'subscription'),
    ('detections', 'publisher'),
    ('overlay', 'publisher'),
    ('label_info', 'publisher'),
    ('vision_info', 'publisher'),
)
