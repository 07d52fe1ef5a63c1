"""The ROS 2 nodes."""

__all__: list[str] = []
