"""The ros2 command: launch, run and pkg. Stand-in, see ros2_ws/underlay/README.md."""

__clar_stand_in__ = True
