"""Operator devices that speak ROS: any gamepad's ``sensor_msgs/Joy``, any six-axis device's ``TwistStamped``."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Joy

from clar import qos
from clar_core.teleop.joy import XBOX, JoyMapping, reading_of_joy, reading_of_twist
from clar_core.teleop.reading import DeviceLostError, Reading


class _Newest:
    """The newest message of a topic and when it came."""

    def __init__(self, node: Node, kind: type, topic: str, group: CallbackGroup) -> None:
        self.message: Any = None
        self._at_s = 0.0
        self._fresh = False
        self.topic = topic
        node.create_subscription(kind, topic, self._take, qos.SENSOR, callback_group=group)

    def _take(self, message: Any) -> None:
        self.message, self._fresh = message, True

    def age_s(self, now_s: float) -> float | None:
        """Seconds since the last message was noticed, None before the first."""
        if self._fresh:
            self._fresh, self._at_s = False, now_s
        return None if self.message is None else now_s - self._at_s


class JoyDevice:
    """A gamepad through a ROS driver (``joy_node`` with ``autorepeat_rate``, or ``spacenav``).

    Args:
        node: that subscribes.
        topic: of ``sensor_msgs/Joy``.
        mapping: of axes and buttons.
        timeout_s: silence that counts as loss.
    """

    name = "joy"

    def __init__(
        self, node: Node, topic: str, group: CallbackGroup, *, mapping: JoyMapping = XBOX, timeout_s: float = 0.5
    ) -> None:
        self._joy = _Newest(node, Joy, topic, group)
        self._mapping = mapping
        self._timeout_s = timeout_s

    def read(self, now_s: float) -> Reading:
        """The newest state. Raises DeviceLostError when the driver is silent."""
        _check(
            self._joy, now_s, self._timeout_s, "run its driver, e.g. `ros2 run joy joy_node` with autorepeat_rate 20"
        )
        return reading_of_joy(self._joy.message.axes, self._joy.message.buttons, self._mapping)

    def close(self) -> None:
        """Nothing to let go of: the node ends its subscriptions."""


class TwistDevice:
    """Any six-axis device through its driver's ``geometry_msgs/TwistStamped``, and its buttons, if any, as ``Joy``."""

    name = "twist"

    def __init__(
        self,
        node: Node,
        topic: str,
        joy_topic: str,
        group: CallbackGroup,
        *,
        full_linear: float,
        full_angular: float,
        mapping: JoyMapping,
        timeout_s: float = 0.5,
    ) -> None:
        self._twist = _Newest(node, TwistStamped, topic, group)
        self._joy = _Newest(node, Joy, joy_topic, group)
        self._full = full_linear, full_angular
        self._mapping = mapping
        self._timeout_s = timeout_s

    def read(self, now_s: float) -> Reading:
        """The newest state. Raises DeviceLostError when the twists stop."""
        _check(self._twist, now_s, self._timeout_s, "its driver must publish all the time, at rest too")
        reading = reading_of_twist(self._twist.message.twist, *self._full)
        if self._joy.message is None:
            return reading
        joy = reading_of_joy(self._joy.message.axes, self._joy.message.buttons, self._mapping)
        held = reading.dead_man if self._mapping.dead_man < 0 else joy.dead_man
        return Reading(reading.deflection, held, joy.pressed)

    def close(self) -> None:
        """Nothing to let go of: the node ends its subscriptions."""


def _check(newest: _Newest, now_s: float, timeout_s: float, hint: str) -> None:
    age_s = newest.age_s(now_s)
    if age_s is None:
        raise DeviceLostError(f"nothing has come on {newest.topic} yet: {hint}")
    if age_s > timeout_s:
        raise DeviceLostError(f"nothing has come on {newest.topic} for {age_s:.1f} s: {hint}")
