"""The subset of launch_ros that CLAR's launch files use. Stand-in, see ros2_ws/underlay/README.md."""

from launch_ros import actions, descriptions, parameter_descriptions, substitutions

__clar_stand_in__ = True
__all__ = ["actions", "descriptions", "parameter_descriptions", "substitutions"]
