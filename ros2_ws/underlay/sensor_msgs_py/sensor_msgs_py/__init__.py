"""Point clouds as NumPy arrays. Stand-in, see ros2_ws/underlay/README.md."""

__clar_stand_in__ = True
