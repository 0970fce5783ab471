"""An operator's device becomes 10 Hz actions and the steps of a recording session. No ROS, no hardware."""
