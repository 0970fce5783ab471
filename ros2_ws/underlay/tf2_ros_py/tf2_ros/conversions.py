"""Between transform messages, times and the matrices and nanoseconds of clar_core."""

from __future__ import annotations

import builtin_interfaces.msg
from geometry_msgs.msg import TransformStamped

from clar_core.geometry.poses import Array, matrix_to_quaternion, pose_from_quaternion


def nanoseconds(time: object) -> int:
    """Nanoseconds of an rclpy Time or Duration, or of their messages. Raises TypeError for anything else."""
    if hasattr(time, "sec") and hasattr(time, "nanosec"):
        return int(time.sec) * 1_000_000_000 + int(time.nanosec)
    if hasattr(time, "nanoseconds"):
        return int(time.nanoseconds)
    raise TypeError(f"expected a time with sec and nanosec, or nanoseconds; got {time!r}")


def frame_name(name: str) -> str:
    """The name without the leading slash of ROS 1 habits, as tf2 reads it in messages."""
    return name[1:] if name.startswith("/") else name


def pose_of(message: TransformStamped) -> Array:
    """T_parent_child (4, 4) of a message, its quaternion normalised. Raises ValueError for one that is all zero."""
    translation, rotation = message.transform.translation, message.transform.rotation
    return pose_from_quaternion(
        (translation.x, translation.y, translation.z), (rotation.x, rotation.y, rotation.z, rotation.w)
    )


def message_of(T_parent_child: Array, parent: str, child: str, stamp_ns: int) -> TransformStamped:
    """A transform message of T_parent_child (4, 4)."""
    message = TransformStamped()
    message.header.stamp = builtin_interfaces.msg.Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    message.header.frame_id = parent
    message.child_frame_id = child
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = T_parent_child[:3, 3].tolist()
    rotation.x, rotation.y, rotation.z, rotation.w = matrix_to_quaternion(T_parent_child[:3, :3]).tolist()
    return message
