"""Finds objects from a drone: the contract, the engines, the detector and its ROS 2 nodes."""

__all__: list[str] = []
