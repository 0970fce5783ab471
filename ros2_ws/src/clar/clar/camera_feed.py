"""The camera's newest pictures with their intrinsics and frames, for those who look now and then."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import rclpy.time
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import Buffer, TransformException, TransformListener

from clar import bridge, names, qos
from clar_core.geometry.camera import Intrinsics

_KEPT = 12


@dataclass(frozen=True, eq=False)
class Picture:
    """One image with its capture time in seconds."""

    stamp_s: float
    pixels: NDArray[np.generic]
    frame_id: str


class CameraFeed:
    """Newest colour and depth images.

    Args:
        node: whose subscriptions they are.
        inverse_lens: take the colour stream's distortion as librealsense means it (inverse Brown-Conrady), whatever its
            label says.
        group: callback group.
        color: whether colour is wanted, which in simulation is rendered only on demand.
    """

    def __init__(self, node: Node, *, inverse_lens: bool, group: CallbackGroup, color: bool = True) -> None:
        self._node = node
        self._inverse_lens = inverse_lens
        self._lock = threading.Lock()
        self._color: deque[Picture] = deque(maxlen=_KEPT)
        self._depth: deque[Picture] = deque(maxlen=_KEPT)
        self._infos: dict[str, CameraInfo] = {}
        self.buffer = Buffer(node=node)
        self._listener = TransformListener(self.buffer, node)
        subscriptions = [(Image, names.TOPIC_DEPTH_IMAGE, self._on_depth), (CameraInfo, names.TOPIC_DEPTH_INFO, None)]
        if color:
            subscriptions += [
                (Image, names.TOPIC_COLOR_IMAGE, self._on_color),
                (CameraInfo, names.TOPIC_COLOR_INFO, None),
            ]
        self._subscriptions = [
            node.create_subscription(
                kind, topic, callback or self._info_setter(topic), qos.SENSOR, callback_group=group
            )
            for kind, topic, callback in subscriptions
        ]

    def close(self) -> None:
        """End the subscriptions."""
        self._listener.unregister()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def missing(self, *, color: bool = True) -> str:
        """What has not arrived yet; empty when everything has."""
        wanted = [
            (bool(self._depth), names.TOPIC_DEPTH_IMAGE),
            (names.TOPIC_DEPTH_INFO in self._infos, names.TOPIC_DEPTH_INFO),
        ]
        if color:
            wanted += [
                (bool(self._color), names.TOPIC_COLOR_IMAGE),
                (names.TOPIC_COLOR_INFO in self._infos, names.TOPIC_COLOR_INFO),
            ]
        return ", ".join(topic for there, topic in wanted if not there)

    def color_after(self, stamp_s: float) -> Picture | None:
        """The oldest kept colour image that was captured after a time."""
        return next(iter(self.colors_after(stamp_s)), None)

    def depth_near(self, stamp_s: float, within_s: float) -> Picture | None:
        """The depth image nearest to a time, None when all are further than ``within_s``."""
        with self._lock:
            near = min(self._depth, key=lambda p: abs(p.stamp_s - stamp_s), default=None)
        return near if near is not None and abs(near.stamp_s - stamp_s) <= within_s else None

    def depths_after(self, stamp_s: float) -> list[Picture]:
        """The kept depth images that were captured after a time, oldest first."""
        return self._all_after(self._depth, stamp_s)

    def colors_after(self, stamp_s: float) -> list[Picture]:
        """The kept colour images that were captured after a time, oldest first."""
        return self._all_after(self._color, stamp_s)

    @property
    def color_intrinsics(self) -> Intrinsics:
        """Of the colour images, the lens in its own direction. KeyError before the first."""
        intrinsics = bridge.camera_info_to_intrinsics(self._infos[names.TOPIC_COLOR_INFO])
        if intrinsics.model != "none" and self._inverse_lens:
            return replace(intrinsics, model="inverse_brown_conrady")
        return intrinsics

    @property
    def depth_intrinsics(self) -> Intrinsics:
        """Of the depth images. KeyError before the first."""
        return bridge.camera_info_to_intrinsics(self._infos[names.TOPIC_DEPTH_INFO])

    def frames(self) -> tuple[str, str]:
        """Frames of the colour and the depth images, as their headers say."""
        with self._lock:
            return self._color[-1].frame_id, self._depth[-1].frame_id

    def transform(self, target: str, source: str) -> NDArray[np.float64] | None:
        """(4, 4) that maps points of ``source`` to ``target``, None while the tree does not have it."""
        try:
            found = self.buffer.lookup_transform(target, source, rclpy.time.Time())
        except TransformException:
            return None
        return bridge.transform_to_matrix(found.transform)

    def _all_after(self, pictures: deque[Picture], stamp_s: float) -> list[Picture]:
        with self._lock:
            return [p for p in pictures if p.stamp_s > stamp_s]

    def _info_setter(self, topic: str):
        def keep(info: CameraInfo) -> None:
            self._infos[topic] = info

        return keep

    def _on_color(self, image: Image) -> None:
        self._take(self._color, image)

    def _on_depth(self, image: Image) -> None:
        self._take(self._depth, image)

    def _take(self, pictures: deque[Picture], image: Image) -> None:
        try:
            pixels = bridge.image_to_array(image)
        except bridge.BridgeError as error:
            self._node.get_logger().warning(f"image left out: {error}", throttle_duration_sec=5.0)
            return
        if image.encoding == "bgr8":
            pixels = pixels[:, :, ::-1]
        with self._lock:
            pictures.append(Picture(bridge.stamp_to_s(image.header.stamp), pixels, image.header.frame_id))
