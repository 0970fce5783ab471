"""Behaviour of ROS 2 packages that CLAR relies on; shown by the real ones and by the stand-ins in ros2_ws/underlay."""
