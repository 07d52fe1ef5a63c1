"""ROS 2 and this repository's packages on any machine."""

__all__ = []
