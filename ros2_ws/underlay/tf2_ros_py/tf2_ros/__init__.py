"""tf2_ros for Python, over clar_core's FrameTree. Stand-in, see ros2_ws/underlay/README.md."""

from tf2_py import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TimeoutException,
    TransformException,
)

from tf2_ros.buffer import Buffer
from tf2_ros.static_transform_broadcaster import StaticTransformBroadcaster
from tf2_ros.transform_broadcaster import TransformBroadcaster
from tf2_ros.transform_listener import TransformListener

__clar_stand_in__ = True
__all__ = [
    "Buffer",
    "ConnectivityException",
    "ExtrapolationException",
    "InvalidArgumentException",
    "LookupException",
    "StaticTransformBroadcaster",
    "TimeoutException",
    "TransformBroadcaster",
    "TransformException",
    "TransformListener",
]


def __getattr__(name: str) -> object:
    if name[0].isupper():
        raise ImportError(
            f"tf2_ros.{name} is outside the subset that CLAR's stand-in has ({', '.join(__all__)}); "
            "install ROS 2's tf2_ros_py, or add it to ros2_ws/underlay/tf2_ros_py"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
