"""Camera sources without ROS: image folders, videos, devices, streams and a synthetic camera."""

from mnssd_perception.sources.open_source import is_live, open_source
from mnssd_perception.sources.source import Frame, FrameSource, Pacer

__all__ = ['Frame', 'FrameSource', 'is_live', 'open_source', 'Pacer']
