"""The requests of the gymnasium front's hand: one at a time, each carried out to its end, as the Franka hand does.

A request that comes while another is carried out waits, and replaces what waited. So a policy that wavers between open
and closed pays here what it pays on the robot: the whole way of the fingers, there and back.
"""

from __future__ import annotations

from clar_core.control.robot import GripperReading
from clar_core.control.tracking import CONTROL_PERIOD_S
from clar_core.simulation.scene import HAND_MAX_WIDTH_M

_SETTLED_M = 1e-5 * CONTROL_PERIOD_S / 1e-3
"""The fingers stand still: franky-sim's 10 um a millisecond, over a control period."""
_SETTLED_S = 0.1
"""For so long, and the request has come to its end."""


class Hand:
    """What the hand is told, what it does, and whether it holds something. It begins open.

    Args:
        delay_s: from a request to the first motion of the fingers.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._asked = self._done = True
        self._due_s: float | None = None
        self._running = False
        self._settled_s = 0.0
        self._width_m = HAND_MAX_WIDTH_M
        self._is_grasped = False

    @property
    def target_m(self) -> float:
        """Where the fingers go: their opening, metres."""
        return HAND_MAX_WIDTH_M if self._done else 0.0

    @property
    def is_closing(self) -> bool:
        """Whether the fingers are told to close, with the force of a grasp."""
        return not self._done

    def request(self, is_open: bool, time_s: float) -> None:
        """Ask for an open or a closed hand, at a time in simulated seconds. The same as before is no request."""
        if is_open is not self._asked:
            self._asked, self._due_s = is_open, time_s + self._delay_s

    def advance(self, time_s: float, width_m: float) -> None:
        """Note the measured opening, once a control period, and begin or end what is due."""
        moved, self._width_m = abs(width_m - self._width_m), width_m
        self._settled_s = self._settled_s + CONTROL_PERIOD_S if moved < _SETTLED_M else 0.0
        if self._running and self._settled_s >= _SETTLED_S - 1e-9:
            self._running, self._is_grasped = False, not self._done
        if not self._running and self._due_s is not None and time_s >= self._due_s - 1e-9:
            self._done, self._due_s = self._asked, None
            self._running, self._is_grasped, self._settled_s = True, False, 0.0

    def reading(self) -> GripperReading:
        """As the driver of the live arm would read it."""
        return GripperReading(
            width_m=self._width_m,
            max_width_m=HAND_MAX_WIDTH_M,
            is_grasped=self._is_grasped,
            goal_open=self._asked,
            busy=self._running or self._due_s is not None,
        )
