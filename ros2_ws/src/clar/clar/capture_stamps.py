"""When the depth images that a command may name were captured."""

from __future__ import annotations

from collections import deque

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from clar import bridge, names, qos

_FRESH_S = 0.14
"""An observation older than this caused nothing; the arm drops what claims otherwise at 150 ms."""
_KEPT = 12


class CaptureStamps:
    """The newest capture stamps, from the camera_info that comes with each depth image: a fraction of its size."""

    def __init__(self, node: Node, group: CallbackGroup) -> None:
        self._node = node
        self._stamps: deque[int] = deque(maxlen=_KEPT)
        node.create_subscription(CameraInfo, names.TOPIC_DEPTH_INFO, self._take, qos.SENSOR, callback_group=group)

    def __len__(self) -> int:
        return len(self._stamps)

    def newest(self) -> int:
        """The newest stamp in nanoseconds; 0 when it is too old to have caused anything."""
        return self._fresh(self._stamps[-1]) if self._stamps else 0

    def nearest(self, stamp_ns: int) -> int:
        """The stamp nearest to a time; 0 when that is too old."""
        stamps = list(self._stamps)
        return self._fresh(min(stamps, key=lambda s: abs(s - stamp_ns))) if stamps else 0

    def _fresh(self, stamp_ns: int) -> int:
        return stamp_ns if self._node.get_clock().now().nanoseconds - stamp_ns < _FRESH_S * 1e9 else 0

    def _take(self, info: CameraInfo) -> None:
        self._stamps.append(bridge.stamp_to_ns(info.header.stamp))
