"""What the drone saw to files and to the terminal, without ROS."""

from mnssd_perception.recording.contact_sheet import ContactSheet
from mnssd_perception.recording.folder import prepare_folder
from mnssd_perception.recording.journal import Journal
from mnssd_perception.recording.sighting import FrameResult
from mnssd_perception.recording.table import Table
from mnssd_perception.recording.video import VideoRecorder

__all__ = [
    'ContactSheet',
    'FrameResult',
    'Journal',
    'prepare_folder',
    'Table',
    'VideoRecorder',
]
