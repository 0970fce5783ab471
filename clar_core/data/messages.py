"""ROS messages, read from bags, as arrays and geometry. Works on any object with ROS's field names."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, pose_from_quaternion

DEPTH_ENCODINGS = ("16UC1", "mono16")


class MessageError(ValueError):
    """A message does not hold what its type promises; the text names the field."""


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds since the epoch of a ``builtin_interfaces/Time``."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def depth_image(image: Any) -> NDArray[np.uint16]:
    """Depth (height, width) uint16 in raw units of a ``sensor_msgs/Image``, a view of its bytes where possible.

    Raises:
        MessageError: another encoding than 16UC1 or mono16, or fewer bytes than height and step say.
    """
    if image.encoding not in DEPTH_ENCODINGS:
        raise MessageError(
            f"Image.encoding: expected {' or '.join(DEPTH_ENCODINGS)} (depth in raw units), got {image.encoding!r}"
        )
    rows, step, width = int(image.height), int(image.step), int(image.width)
    if rows < 1 or width < 1 or step < 2 * width or len(image.data) < rows * step:
        raise MessageError(
            f"Image.data: expected {rows} rows of at least {2 * width} bytes, "
            f"got step {step} and {len(image.data)} bytes"
        )
    data = np.frombuffer(image.data, dtype=np.uint8, count=rows * step).reshape(rows, step)
    pixels = data[:, : 2 * width].view(np.uint16)
    return pixels if bool(image.is_bigendian) == (sys.byteorder == "big") else pixels.byteswap()


def color_image(message: Any) -> NDArray[np.uint8]:
    """Colour (height, width, 3) uint8 RGB of a ``sensor_msgs/CompressedImage``, or of an ``Image`` of rgb8 or bgr8.

    Raises:
        MessageError: bytes that are no JPEG or PNG, another encoding, or fewer bytes than height and step say.
    """
    if not hasattr(message, "encoding"):
        pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise MessageError(
                f"CompressedImage.data: no JPEG or PNG in {len(message.data)} bytes of {message.format!r}"
            )
        return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)
    if message.encoding not in ("rgb8", "bgr8"):
        raise MessageError(f"Image.encoding: expected rgb8 or bgr8, got {message.encoding!r}")
    rows, step, width = int(message.height), int(message.step), int(message.width)
    if rows < 1 or width < 1 or step < 3 * width or len(message.data) < rows * step:
        raise MessageError(
            f"Image.data: expected {rows} rows of at least {3 * width} bytes, "
            f"got step {step} and {len(message.data)} bytes"
        )
    data = np.frombuffer(message.data, dtype=np.uint8, count=rows * step).reshape(rows, step)
    image = data[:, : 3 * width].reshape(rows, width, 3)
    return np.ascontiguousarray(image if message.encoding == "rgb8" else image[..., ::-1])


def intrinsics_of(info: Any, *, inverse: bool = False) -> Intrinsics:
    """Intrinsics of a ``sensor_msgs/CameraInfo``, ``inverse`` as in :meth:`Intrinsics.from_camera_info`.

    Raises:
        MessageError: numbers that cannot be a camera's.
    """
    try:
        return Intrinsics.from_camera_info(
            int(info.width), int(info.height), info.distortion_model, info.d, info.k, inverse=inverse
        )
    except ValueError as error:
        raise MessageError(f"CameraInfo: {error}") from error


def transform_of(transform: Any) -> Array:
    """(4, 4) of a ``geometry_msgs/Transform``. Raises MessageError for a quaternion that is none."""
    t, q = transform.translation, transform.rotation
    try:
        return pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    except ValueError as error:
        raise MessageError(f"Transform.rotation: {error}") from error
