"""The static frames under ``camera_link`` as realsense-ros publishes them (REP-103), of a real or simulated camera."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped

from clar import names
from clar.bridge import matrix_to_transform
from clar_core.geometry.camera import T_BODY_OPTICAL
from clar_core.geometry.poses import Array, inverse, make_pose

_DEPTH_FRAME = "camera_depth_frame"
_COLOR_FRAME = "camera_color_frame"


def camera_tree(T_depth_color: Array, stamp: Time) -> list[TransformStamped]:
    """camera_link over the depth and the colour frames, each with its optical one.

    Args:
        T_depth_color: (4, 4) pose of the colour optical frame in the depth optical frame.
        stamp: of the transforms.
    """
    T_link_color = T_BODY_OPTICAL @ T_depth_color @ inverse(T_BODY_OPTICAL)
    edges: list[tuple[str, str, Array]] = [
        (names.CAMERA_FRAME, _DEPTH_FRAME, make_pose()),
        (_DEPTH_FRAME, names.DEPTH_OPTICAL_FRAME, T_BODY_OPTICAL),
        (names.CAMERA_FRAME, _COLOR_FRAME, T_link_color),
        (_COLOR_FRAME, names.COLOR_OPTICAL_FRAME, T_BODY_OPTICAL),
    ]
    transforms = []
    for parent, child, T in edges:
        message = TransformStamped(child_frame_id=child, transform=matrix_to_transform(T))
        message.header.frame_id = parent
        message.header.stamp = stamp
        transforms.append(message)
    return transforms
