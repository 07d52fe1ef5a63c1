"""The parameters of the nodes."""

from dataclasses import dataclass, fields
from typing import Any

from mnssd_perception.bundle import PRECISIONS
from mnssd_perception.engines import EngineOptions, ENGINES
from mnssd_perception.ros.parameters import parameter
from mnssd_perception.ssd import Thresholds
from mnssd_perception.ssd.thresholds import MAX_CANDIDATES

# fmt: off


@dataclass(frozen=True)
class CameraParameters:
    """The parameters of the camera node."""

    source: str = parameter('synthetic:', 'a folder of images, a video file, /dev/video0, '
        'rtsp://..., gst:<pipeline> or synthetic:')
    rate: float = parameter(0.0, 'frames per second [Hz]; 0 for the rate of the source',
        0.0, 1000.0)
    loop: bool = parameter(False, 'start over at the end')
    exit_at_end: bool = parameter(True, 'end the process at the end of the source')
    frame_id: str = parameter('camera_optical_frame',
        'frame_id of the images, an optical frame (REP 103)')
    encoding: str = parameter('', 'encoding of the images; empty for that of the source, bgr8, '
        'mono8 or mono16', choices=('', 'bgr8', 'rgb8', 'mono8'))
    width: int = parameter(0, 'width to request from a V4L2 camera [pixels]; 0 for its default',
        0, 16384)
    height: int = parameter(0, 'height to request from a V4L2 camera [pixels]; 0 for its default',
        0, 16384)
    fourcc: str = parameter('MJPG', 'pixel format to request from a V4L2 camera; empty for its '
        'default')
    wait_for_subscribers: int = parameter(0, 'number of subscribers to wait for before the first '
        'frame', 0, 100)
    lockstep: bool = parameter(False, 'publish the next frame only when the detections of the '
        'last one have arrived, so that a slow detector processes every frame of a file. A frame '
        'without detections is published again and, after 30 s, skipped with a warning; the third '
        'in a row is an error, as is the very first after 60 s. First frames that the detector '
        'refuses are skipped at once')


@dataclass(frozen=True)
class DetectorParameters:
    """The parameters of the detector."""

    autostart: bool = parameter(True, 'configure and activate at startup, without a lifecycle '
        'manager')
    bundle: str = parameter('', 'path of the model bundle; empty for the one that is shipped')
    bundle_digest: str = parameter('', 'digest that the bundle must have, "sha256:" and the '
        'SHA-256 of its manifest.json, as ~/status shows it; empty for any bundle')
    engine: str = parameter('auto', 'the inference engine: auto (the fastest that works here), '
        f'{", ".join(ENGINES)}', choices=('auto', *ENGINES))
    precision: str = parameter('', 'precision of the network: '
        f'{", ".join(PRECISIONS)}; empty for the fastest that the engine can run',
        choices=('', *PRECISIONS))
    threads: int = parameter(EngineOptions.threads, 'number of CPU threads of the engine; 0 for '
        'the default of the engine', 0, 256)
    spinning: bool = parameter(False, 'let idle engine threads spin: slightly faster, but keeps '
        'the CPU busy')
    workspace_mib: int = parameter(EngineOptions.workspace_mib, 'memory that TensorRT may use '
        'while it builds an engine [MiB]', 16, 2**20)
    dla_core: int = parameter(EngineOptions.dla_core, 'deep learning accelerator of a Jetson that '
        'TensorRT uses; -1 for the GPU', -1, 15)
    shared_device: bool = parameter(EngineOptions.shared_device, 'share a Hailo device with other '
        'processes, through the HailoRT service')
    warmup: int = parameter(3, 'number of inferences before the first frame, which would be slow '
        'otherwise', 0, 1000)
    engine_timeout: float = parameter(1.0, 'report the engine as hung when a frame takes longer '
        '[s]', 0.1, 3600.0, is_dynamic=True)
    diagnostics_period: float = parameter(1.0, 'time between two reports [s]', 0.1, 3600.0)
    score_threshold: float = parameter(Thresholds.score, 'minimum score of a detection, above 0 '
        'and below 1; that of the bundle unless set', 0.0, 1.0, is_dynamic=True)
    iou_threshold: float = parameter(Thresholds.iou, 'IoU threshold of the NMS; that of the '
        'bundle unless set', 0.0, 1.0, is_dynamic=True)
    max_detections: int = parameter(Thresholds.max_detections, 'maximum number of detections per '
        'image, highest scores first; that of the bundle unless set', 1, MAX_CANDIDATES,
        is_dynamic=True)
    class_filter: tuple[str, ...] = parameter((), 'names of the classes to detect; empty for all',
        is_dynamic=True)
    max_age_ms: float = parameter(0.0, 'drop frames that are older when they are processed [ms]; '
        '0 drops none; needs a camera that stamps with the same clock', 0.0, 1e6, is_dynamic=True)

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds; raises SettingsError when a value is out of range."""
        return Thresholds(self.score_threshold, self.iou_threshold, self.max_detections)


@dataclass(frozen=True)
class RecorderParameters:
    """The parameters of the recorder node."""

    output: str = parameter('mnssd_recording', 'folder for video, contact sheet and detections')
    ready_file: str = parameter('', 'file to create once the detector is ready; empty for none')
    start_timeout: float = parameter(60.0, 'fail without a detection message after this time [s]',
        1.0, 86400.0)
    idle_timeout: float = parameter(10.0, 'end after this time without a message, although the '
        'camera is still there [s]', 1.0, 86400.0)


# fmt: on

# The parameters of all nodes, which one section of a parameter file may contain together.
PARAMETER_NAMES = frozenset(
    entry.name
    for parameters_type in (CameraParameters, DetectorParameters, RecorderParameters)
    for entry in fields(parameters_type)
)

# Topics and endpoints whose QoS can be overridden in one of the nodes.
OVERRIDABLE = (
    ('image', 'publisher'),
    ('image', 'subscription'),
    ('detections', 'publisher'),
    ('overlay', 'publisher'),
    ('label_info', 'publisher'),
    ('vision_info', 'publisher'),
)


def threshold_parameters(thresholds: Thresholds) -> dict[str, Any]:
    """Return the values of the parameters that hold the thresholds."""
    return {
        'score_threshold': float(thresholds.score),
        'iou_threshold': float(thresholds.iou),
        'max_detections': int(thresholds.max_detections),
    }
