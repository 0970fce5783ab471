"""Gamepads and six-axis devices that ROS drivers publish: numbers of axes and buttons to a reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clar_core.teleop.reading import Array, Button, Reading


@dataclass(frozen=True, kw_only=True)
class JoyMapping:
    """Which axis and which button of ``sensor_msgs/Joy`` means what. A negative axis number is none.

    Attributes:
        axes: for x, y, z, roll, pitch, yaw the axis number.
        signs: the factor of each.
        up_axis, down_axis: triggers that rest at 1 and give -1 when pulled, instead of the axis for z.
        dead_man: button that must be held, or -1: any deflection is the dead-man.
        buttons: name of :class:`Button` to button number.
    """

    axes: tuple[int, int, int, int, int, int] = (1, 0, -1, -1, 4, 3)
    signs: tuple[float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    up_axis: int = 5
    down_axis: int = 2
    dead_man: int = 4
    buttons: Mapping[str, int] = field(
        default_factory=lambda: {
            "gripper": 5,
            "success": 0,
            "failure": 1,
            "discard": 2,
            "undo": 3,
            "stop": 8,
            "start": 7,
            "arm": 6,
            "take_over": 9,
            "give_back": 10,
        }
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.buttons) - {button.value for button in Button}):
            raise ValueError(f"buttons: expected names of {[b.value for b in Button]}, got {unknown}")


XBOX = JoyMapping()
SPACENAV = JoyMapping(
    axes=(0, 1, 2, 3, 4, 5), up_axis=-1, down_axis=-1, dead_man=-1, buttons={"gripper": 0, "start": 1}
)
"""``spacenav_node``: six axes, two buttons."""

_ANY_DEFLECTION = 0.05


def reading_of_joy(axes: Sequence[float], buttons: Sequence[int], mapping: JoyMapping = XBOX) -> Reading:
    """The reading of one ``Joy`` message.

    Raises:
        ValueError: the mapping names an axis or a button that the device does not have.
    """
    highest = max([*mapping.axes, mapping.up_axis, mapping.down_axis])
    if highest >= len(axes):
        raise ValueError(f"axes: the mapping uses axis {highest}, the device has {len(axes)}; choose another mapping")
    deflection: Array = np.array(
        [sign * axes[axis] if axis >= 0 else 0.0 for axis, sign in zip(mapping.axes, mapping.signs, strict=True)]
    )
    for axis, sign in ((mapping.up_axis, 1.0), (mapping.down_axis, -1.0)):
        if axis >= 0:
            deflection[2] += sign * 0.5 * (1.0 - axes[axis])
    pressed = frozenset(
        Button(name) for name, number in mapping.buttons.items() if number < len(buttons) and buttons[number]
    )
    if mapping.dead_man < 0:
        held = bool(np.abs(deflection).max() > _ANY_DEFLECTION)
    else:
        held = mapping.dead_man < len(buttons) and bool(buttons[mapping.dead_man])
    return Reading(deflection, held, pressed)


def reading_of_twist(twist: Any, full_linear: float, full_angular: float) -> Reading:
    """The reading of a six-axis device's ``geometry_msgs/Twist``; any deflection is the dead-man.

    Args:
        twist: with ``linear`` and ``angular``, each x, y, z.
        full_linear, full_angular: what the driver publishes at full deflection, in its own units.
    """
    linear, angular = twist.linear, twist.angular
    deflection = np.array(
        [linear.x / full_linear, linear.y / full_linear, linear.z / full_linear,
         angular.x / full_angular, angular.y / full_angular, angular.z / full_angular]
    )  # fmt: skip
    if not np.isfinite(deflection).all():
        return Reading()
    return Reading(deflection, bool(np.abs(deflection).max() > _ANY_DEFLECTION))
