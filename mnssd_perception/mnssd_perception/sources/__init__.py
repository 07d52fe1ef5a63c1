"""Camera frames from folders, videos, devices, streams and a synthetic world, without ROS."""

from mnssd_perception.sources.opening import is_live, open_source
from mnssd_perception.sources.pacing import Pacer
from mnssd_perception.sources.source import Frame, FrameSource

__all__ = ['Frame', 'FrameSource', 'is_live', 'open_source', 'Pacer']
