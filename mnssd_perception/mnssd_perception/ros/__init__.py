"""ROS 2 support for the nodes: messages, parameters, QoS, diagnostics and process life."""

__all__: list[str] = []
