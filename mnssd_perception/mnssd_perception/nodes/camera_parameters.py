"""The parameters of the camera node."""

from dataclasses import dataclass

from mnssd_perception.ros.parameters import parameter


@dataclass(frozen=True)
class CameraParameters:
    """What the camera plays and how; all of it is fixed once the node has started."""

    source: str = parameter(
        'synthetic:',
        'a folder of images, a video file, /dev/video0, rtsp://..., gst:<pipeline> or synthetic:',
        read_only=True,
    )
    rate: float = parameter(
        0.0, "frames a second [Hz]; 0 for the source's own", minimum=0.0, maximum=1000.0,
        read_only=True,
    )  # fmt: skip
    loop: bool = parameter(False, 'start over at the end', read_only=True)
    exit_at_end: bool = parameter(True, 'end the process at the end of the source', read_only=True)
    frame_id: str = parameter('camera_optical_frame', 'frame of the images', read_only=True)
    encoding: str = parameter(
        '', 'of the images; empty for what the source gives, bgr8 or mono8',
        choices=('', 'bgr8', 'rgb8', 'mono8'), read_only=True,
    )  # fmt: skip
    width: int = parameter(
        0, 'to ask a V4L2 camera for [pixels]; 0 for its default', minimum=0, maximum=16384,
        read_only=True,
    )  # fmt: skip
    height: int = parameter(
        0, 'to ask a V4L2 camera for [pixels]; 0 for its default', minimum=0, maximum=16384,
        read_only=True,
    )  # fmt: skip
    fourcc: str = parameter(
        'MJPG', 'pixel format to ask a V4L2 camera for; empty for its default', read_only=True
    )
    wait_for_subscribers: int = parameter(
        0, 'play only when this many subscribe to the images', minimum=0, maximum=100,
        read_only=True,
    )  # fmt: skip
    lockstep: bool = parameter(
        False, 'play the next frame only when the detections of the last one have arrived: a slow '
        'detector sees every frame of a file. A frame without detections is sent again and, after '
        '30 s, skipped with a warning; the third in a row is an error, as is the first of all '
        'after 60 s',
        read_only=True,
    )  # fmt: skip
