"""ROS messages <-> numpy arrays and ``clar_core`` types. Conversions only; no policy, no state.

Arrays made from messages are read-only views of the message's bytes where the layout allows it.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Twist, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header

from clar_core.control.action import Action
from clar_core.control.gates import Gate
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import matrix_to_quaternion, pose_from_quaternion
from clar_interfaces.msg import DeltaCommand, StageTimings

_ENCODINGS: dict[str, tuple[np.dtype[np.generic], int]] = {
    "16UC1": (np.dtype(np.uint16), 1),
    "mono16": (np.dtype(np.uint16), 1),
    "32FC1": (np.dtype(np.float32), 1),
    "mono8": (np.dtype(np.uint8), 1),
    "8UC1": (np.dtype(np.uint8), 1),
    "rgb8": (np.dtype(np.uint8), 3),
    "bgr8": (np.dtype(np.uint8), 3),
}
_POINT_FIELDS = [
    PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1) for index, name in enumerate("xyz")
]


class BridgeError(ValueError):
    """A message does not hold what its type promises; the text names the field."""


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds since the epoch of a ROS stamp."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """ROS stamp of nanoseconds since the epoch (>= 0)."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def stamp_to_s(stamp: Time) -> float:
    """Seconds since the epoch of a ROS stamp; double precision keeps about 0.2 microseconds."""
    return int(stamp.sec) + int(stamp.nanosec) * 1e-9


def pose_to_matrix(pose: Pose) -> NDArray[np.float64]:
    """(4, 4) of a Pose. Raises ValueError for a quaternion that is zero or not finite."""
    p, q = pose.position, pose.orientation
    return pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def matrix_to_pose(T: NDArray[np.float64]) -> Pose:
    """Pose of a (4, 4)."""
    x, y, z = T[:3, 3].tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(T))


def transform_to_matrix(transform: Transform) -> NDArray[np.float64]:
    """(4, 4) of a Transform: it maps points of the child frame to the parent frame."""
    t, q = transform.translation, transform.rotation
    return pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def matrix_to_transform(T: NDArray[np.float64]) -> Transform:
    """Transform of a (4, 4)."""
    return Transform(translation=vector3(T[:3, 3]), rotation=_quaternion(T))


def vector3(values: Iterable[float]) -> Vector3:
    """Vector3 of three numbers."""
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def vector3_to_array(vector: Vector3) -> NDArray[np.float64]:
    """(3,) of a Vector3."""
    return np.array((vector.x, vector.y, vector.z))


def array_to_twist(twist: NDArray[np.float64]) -> Twist:
    """Twist of (6,): linear [m/s], then angular [rad/s]."""
    return Twist(linear=vector3(twist[:3]), angular=vector3(twist[3:]))


def twist_to_array(twist: Twist) -> NDArray[np.float64]:
    """(6,) of a Twist: linear [m/s], then angular [rad/s]."""
    return np.concatenate([vector3_to_array(twist.linear), vector3_to_array(twist.angular)])


def image_to_array(image: Image) -> NDArray[np.generic]:
    """(h, w) or (h, w, 3) view of an Image, in the encoding's dtype; copied only for foreign byte order.

    Raises:
        BridgeError: the encoding is not one the stack uses, or the data is shorter than the header says.
    """
    if image.encoding not in _ENCODINGS:
        raise BridgeError(f"Image.encoding: expected one of {', '.join(_ENCODINGS)}, got {image.encoding!r}")
    dtype, channels = _ENCODINGS[image.encoding]
    row_bytes = image.width * channels * dtype.itemsize
    if image.height == 0 or image.width == 0 or image.step < row_bytes or len(image.data) < image.height * image.step:
        raise BridgeError(
            f"Image.data: expected {image.height} rows of at least {row_bytes} bytes ({image.encoding},"
            f" width {image.width}), got step {image.step} and {len(image.data)} bytes"
        )
    rows = np.frombuffer(image.data, dtype=np.uint8, count=image.height * image.step).reshape(image.height, image.step)
    pixels = rows[:, :row_bytes].view(dtype)
    if bool(image.is_bigendian) != (sys.byteorder == "big") and dtype.itemsize > 1:
        pixels = pixels.byteswap()
    return pixels if channels == 1 else pixels.reshape(image.height, image.width, channels)


def array_to_image(pixels: NDArray[np.generic], encoding: str, header: Header) -> Image:
    """Image of an (h, w) or (h, w, 3) array. Raises BridgeError when array and encoding disagree."""
    if encoding not in _ENCODINGS:
        raise BridgeError(f"encoding: expected one of {', '.join(_ENCODINGS)}, got {encoding!r}")
    dtype, channels = _ENCODINGS[encoding]
    if pixels.dtype != dtype or pixels.ndim != (2 if channels == 1 else 3) or pixels.shape[2:] not in ((), (channels,)):
        raise BridgeError(f"{encoding}: expected {channels} channel(s) of {dtype}, got {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    image = Image(header=header, height=height, width=width, encoding=encoding)
    image.is_bigendian = int(sys.byteorder == "big")
    image.step = width * channels * dtype.itemsize
    image.data = _bytes_of(pixels)
    return image


def array_to_jpeg(pixels: NDArray[np.uint8], quality: int, header: Header) -> CompressedImage:
    """CompressedImage of an (h, w, 3) RGB array; quality 1 to 100. Raises BridgeError when OpenCV cannot encode it."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise BridgeError("OpenCV could not encode a colour image as JPEG: this build of OpenCV lacks JPEG support")
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", data.tobytes())
    return message


def camera_info_to_intrinsics(info: CameraInfo) -> Intrinsics:
    """Intrinsics of a CameraInfo; zero coefficients count as no distortion, whatever the model's label.

    realsense-ros labels the D455's inverse Brown-Conrady colour stream ``plumb_bob``; who needs the colour stream's
    true direction takes it from the camera description, not from here.

    Raises:
        BridgeError: the focal lengths are not positive, or the distortion model is unknown.
    """
    fx, fy, cx, cy = float(info.k[0]), float(info.k[4]), float(info.k[2]), float(info.k[5])
    if not (fx > 0 and fy > 0 and info.width > 0 and info.height > 0):
        raise BridgeError(
            f"CameraInfo: expected positive focal lengths and a size, got fx {fx}, fy {fy}, {info.width}x{info.height}"
        )
    coefficients = tuple(float(c) for c in info.d)
    size = {"width": int(info.width), "height": int(info.height)}
    if not any(coefficients):
        return Intrinsics(**size, fx=fx, fy=fy, cx=cx, cy=cy)
    if info.distortion_model != "plumb_bob" or len(coefficients) != 5:
        raise BridgeError(
            f"CameraInfo: expected plumb_bob with 5 coefficients,"
            f" got {info.distortion_model!r} with {len(coefficients)}"
        )
    return Intrinsics(**size, fx=fx, fy=fy, cx=cx, cy=cy, model="brown_conrady", coefficients=coefficients)  # type: ignore[arg-type]


def intrinsics_to_camera_info(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """CameraInfo of a rectified or distorted pinhole, as realsense-ros labels it."""
    i = intrinsics
    info = CameraInfo(header=header, width=i.width, height=i.height, distortion_model="plumb_bob")
    info.d = [float(c) for c in i.coefficients]
    info.k = [i.fx, 0.0, i.cx, 0.0, i.fy, i.cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [i.fx, 0.0, i.cx, 0.0, 0.0, i.fy, i.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def points_to_cloud(points: NDArray[np.float32], header: Header) -> PointCloud2:
    """Unorganised PointCloud2 of (n, 3) float32 points in metres in ``header.frame_id``."""
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype != np.float32:
        raise BridgeError(f"points: expected (n, 3) float32, got {points.shape} {points.dtype}")
    cloud = PointCloud2(header=header, height=1, width=len(points), fields=_POINT_FIELDS)
    cloud.is_bigendian = sys.byteorder == "big"
    cloud.point_step, cloud.row_step, cloud.is_dense = 12, 12 * len(points), True
    cloud.data = _bytes_of(points)
    return cloud


def cloud_to_points(cloud: PointCloud2) -> NDArray[np.float32]:
    """(n, 3) float32 points of a PointCloud2, NaN points left out. Raises BridgeError when x, y or z is missing."""
    missing = {"x", "y", "z"} - {field.name for field in cloud.fields}
    if missing:
        raise BridgeError(f"PointCloud2.fields: expected x, y and z, missing {', '.join(sorted(missing))}")
    points = point_cloud2.read_points_numpy(cloud, field_names=("x", "y", "z"), skip_nans=not cloud.is_dense)
    return np.asarray(points, dtype=np.float32)


def action_to_command(action: Action, *, source: str, sequence: int, frame: str, observation: Time) -> DeltaCommand:
    """DeltaCommand of an action; the caller stamps the header when it publishes."""
    command = DeltaCommand(source=source, sequence=sequence, observation_stamp=observation)
    command.header.frame_id = frame
    command.translation = vector3(action.translation)
    command.rotation = vector3(action.rotation)
    command.gripper = float(action.gripper)
    return command


def command_to_action(command: DeltaCommand) -> Action:
    """Action of a DeltaCommand. Raises InvalidActionError for numbers that are not finite."""
    return Action.from_array(
        np.concatenate(
            [vector3_to_array(command.translation), vector3_to_array(command.rotation), [float(command.gripper)]]
        )
    )


def gate_to_status(gate: Gate) -> DiagnosticStatus:
    """DiagnosticStatus of a gate: ERROR while it is closed, WARN while it is open with a remark, else OK."""
    if gate.objection:
        return DiagnosticStatus(level=DiagnosticStatus.ERROR, name=gate.name, message=gate.objection)
    level = DiagnosticStatus.WARN if gate.remark else DiagnosticStatus.OK
    return DiagnosticStatus(level=level, name=gate.name, message=gate.remark)


def status_to_gate(status: DiagnosticStatus) -> Gate:
    """Gate of a DiagnosticStatus; a level that is neither OK nor WARN closes it, whatever it says."""
    if status.level in (DiagnosticStatus.OK, DiagnosticStatus.WARN):
        return Gate(status.name, remark=status.message if status.level == DiagnosticStatus.WARN else "")
    return Gate(status.name, status.message or "closed without a reason")


def stage_timings(node: str, stamp: Time, stages_ms: dict[str, float]) -> StageTimings:
    """StageTimings of one frame, named by its capture stamp."""
    timings = StageTimings(node=node, stages=list(stages_ms), durations_ms=[float(v) for v in stages_ms.values()])
    timings.header.stamp = stamp
    return timings


def _quaternion(T: NDArray[np.float64]) -> Quaternion:
    x, y, z, w = matrix_to_quaternion(T[:3, :3]).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


def _bytes_of(values: NDArray[np.generic]) -> array.array[int]:
    """The array's bytes as the one type that rclpy's setters take without a loop over every element."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return data
