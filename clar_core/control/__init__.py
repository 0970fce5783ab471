"""The meaning of an action, its limits, and who may move the arm. No ROS, no hardware."""
