"""Set up ROS 2 and the packages of this repository on any machine."""
