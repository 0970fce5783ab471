"""One look at the scene with the arm at rest: some depth and colour frames, and where the arm was meanwhile.

The subscriptions exist only while looking, because a hundred images a second are nobody's need in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState

from clar import names, qos
from clar.calls import CallError, wait_until
from clar.camera_feed import CameraFeed
from clar_calibration.arm_in_cloud import Posture
from clar_calibration.arm_shape import ArmShape
from clar_calibration.reference import Scene, arm_mask, make_scene
from clar_core.geometry.camera import Intrinsics

Array = NDArray[np.float64]

_FRAMES, _COLORS = 6, 2
_WITHIN_S = 15.0
_STILL_RAD = 2e-3


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen: frames, intrinsics, the colour camera's place beside the depth camera, and the arm's joints."""

    depths: list[NDArray[np.uint16]]
    colors: list[NDArray[np.uint8]]
    depth: Intrinsics
    color: Intrinsics
    T_depth_color: Array
    joints_rad: Array
    gripper_width_m: float

    @property
    def posture(self) -> Posture:
        """The arm in the mean of the depth frames."""
        stack = np.stack(self.depths).astype(np.float64)
        valid = (stack > 0).sum(axis=0)
        mean = np.where(valid > len(stack) / 2, stack.sum(axis=0) / np.maximum(valid, 1), 0.0)
        return Posture(np.rint(mean).astype(np.uint16), self.joints_rad, self.gripper_width_m)

    def scene(
        self, T_base_depth: Array, shape: ArmShape, T_base_board: Array | None = None, outline: Array | None = None
    ) -> Scene:
        """The static scene, without the arm and without a board that it holds."""
        moving = arm_mask(
            self.joints_rad,
            self.gripper_width_m,
            T_base_depth,
            self.depth,
            shape,
            T_base_board=T_base_board,
            outline=outline,
        )
        return make_scene(self.depths, self.colors, self.depth, self.color, self.T_depth_color, moving)


def take_look(
    node: Node, group: CallbackGroup, *, inverse_lens: bool, cancelled: Callable[[], bool] = lambda: False
) -> Look:
    """Look once. To be called from a thread that is not the executor's.

    Raises:
        CallError: camera or arm say nothing, or the arm moves.
    """
    joints: list[JointState] = []
    feed = CameraFeed(node, inverse_lens=inverse_lens, group=group)
    subscription = node.create_subscription(
        JointState, names.TOPIC_JOINT_STATES, joints.append, qos.STATE, callback_group=group
    )
    try:
        return _look(feed, joints, cancelled)
    finally:
        node.destroy_subscription(subscription)
        feed.close()


def _look(feed: CameraFeed, joints: list[JointState], cancelled: Callable[[], bool]) -> Look:
    since_s = time.time()

    def complete() -> bool:
        return (
            not feed.missing()
            and len(feed.depths_after(since_s)) >= _FRAMES
            and len(feed.colors_after(since_s)) >= _COLORS
            and len(joints) > 1
        )

    if not wait_until(complete, _WITHIN_S, cancelled):
        missing = feed.missing() or ("" if joints else names.TOPIC_JOINT_STATES) or "enough frames"
        raise CallError(f"waited {_WITHIN_S:g} s for {missing}: are camera and arm running?")
    color_frame, depth_frame = feed.frames()
    if not wait_until(lambda: feed.transform(depth_frame, color_frame) is not None, 5.0, cancelled):
        raise CallError(f"no transform {depth_frame} <- {color_frame} on {names.TOPIC_TF_STATIC}")
    T_depth_color = feed.transform(depth_frame, color_frame)
    assert T_depth_color is not None
    first, last = (np.array(message.position) for message in (joints[0], joints[-1]))
    if np.abs(first[:7] - last[:7]).max() > _STILL_RAD:
        raise CallError("the arm moved during the look; wait until it is still")
    return Look(
        [np.asarray(p.pixels, dtype=np.uint16) for p in feed.depths_after(since_s)],
        [np.asarray(p.pixels, dtype=np.uint8) for p in feed.colors_after(since_s)],
        feed.depth_intrinsics,
        feed.color_intrinsics,
        T_depth_color,
        last[:7],
        float(last[7:9].sum()),
    )
