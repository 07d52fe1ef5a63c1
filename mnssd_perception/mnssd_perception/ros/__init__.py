"""What the nodes share with ROS 2: conversions to messages and declarations."""

__all__: list[str] = []
