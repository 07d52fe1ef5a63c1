"""Record detections to files and show them in the terminal, without ROS."""

from mnssd_perception.recording.contact_sheet import ContactSheet
from mnssd_perception.recording.detection_log import DetectionLog
from mnssd_perception.recording.folder import prepare_folder
from mnssd_perception.recording.frame_result import FrameResult
from mnssd_perception.recording.table import Table
from mnssd_perception.recording.video import VideoRecorder

__all__ = [
    'ContactSheet',
    'DetectionLog',
    'FrameResult',
    'prepare_folder',
    'Table',
    'VideoRecorder',
]
