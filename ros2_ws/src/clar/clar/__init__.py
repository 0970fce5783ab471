"""CLAR's ROS 2 nodes: thin processes around ``clar_core`` and the hardware drivers."""
