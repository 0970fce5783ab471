"""Hardware behind small classes; no ROS inside."""
