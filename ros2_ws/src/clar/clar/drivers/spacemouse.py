"""A 3Dconnexion SpaceMouse, read over HID by pyspacemouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clar_core.teleop.reading import Button, DeviceLostError, Reading

_BUTTONS = (Button.GRIPPER, Button.START, Button.SUCCESS, Button.DISCARD)
_ANY_DEFLECTION = 0.05
_HINT = (
    "plug it in, and let this user read it: a udev rule for /dev/hidraw* (docs/demonstrations.md); pyspacemouse needs"
    " libhidapi (apt install libhidapi-hidraw0)"
)


def open_device() -> Any:
    """The first SpaceMouse found, with REP-103 axes. Raises DeviceLostError, saying what is missing."""
    try:
        import pyspacemouse

        device = pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.ROS)
    except Exception as error:  # libhidapi missing, no permission and no device are all exceptions of other libraries
        raise DeviceLostError(f"spacemouse: none can be opened ({type(error).__name__}: {error}); {_HINT}") from error
    if device is None:
        raise DeviceLostError(f"spacemouse: none found; {_HINT}")
    return device


class SpaceMouse:
    """Six axes; the cap itself is the dead-man: let go, it springs back and nothing moves.

    Buttons, in the order that the device counts them: gripper, start, success, discard.
    """

    name = "spacemouse"

    def __init__(self, opener: Callable[[], Any] = open_device) -> None:
        self._device = opener()

    def read(self, now_s: float) -> Reading:
        """The newest state. Raises DeviceLostError when it was unplugged."""
        try:
            state = self._device.read()
        except Exception as error:  # whatever the HID library raises when the device has gone
            raise DeviceLostError(f"spacemouse: it does not answer ({error}): was it unplugged?") from error
        deflection = np.array([state.x, state.y, state.z, state.roll, state.pitch, state.yaw], dtype=np.float64)
        pressed = frozenset(button for button, down in zip(_BUTTONS, state.buttons, strict=False) if down)
        return Reading(deflection, bool(np.abs(deflection).max() > _ANY_DEFLECTION), pressed)

    def close(self) -> None:
        """Let go of the device."""
        self._device.close()
