"""The parameters of the recorder node."""

from dataclasses import dataclass

from mnssd_perception.ros.parameters import parameter


@dataclass(frozen=True)
class RecorderParameters:
    """Where the recorder writes and when it ends; fixed once it runs."""

    output: str = parameter(
        'mnssd_recording', 'folder for video, contact sheet and detections', read_only=True
    )
    ready_file: str = parameter(
        '', 'a file to make once the detector is heard; empty for none', read_only=True
    )
    start_timeout: float = parameter(
        60.0, 'give up without a detection after this time [s]', minimum=1.0, maximum=86400.0,
        read_only=True,
    )  # fmt: skip
    idle_timeout: float = parameter(
        10.0, 'end after this time without a detection, although the camera is there [s]',
        minimum=1.0, maximum=86400.0, read_only=True,
    )  # fmt: skip
