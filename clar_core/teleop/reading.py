"""What an operator's device says, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class DeviceLostError(RuntimeError):
    """The device is gone or silent; the text says what to do."""


class Button(Enum):
    """What an operator can ask for besides motion."""

    GRIPPER = "gripper"
    FRAME = "frame"
    FASTER = "faster"
    SLOWER = "slower"
    ARM = "arm"
    STOP = "stop"
    TAKE_OVER = "take_over"
    GIVE_BACK = "give_back"
    START = "start"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    UNDO = "undo"


@dataclass(frozen=True, eq=False)
class Reading:
    """The device now.

    Attributes:
        deflection: (6,) translation x, y, z and rotation about x, y, z, each in -1..1 of full deflection, axes as in
            REP-103: x away from the operator, y to the left, z up.
        dead_man: whether the operator holds the dead-man; without it nothing moves.
        pressed: buttons that are down now.
    """

    deflection: Array = field(default_factory=lambda: np.zeros(6))
    dead_man: bool = False
    pressed: frozenset[Button] = frozenset()


class Device(Protocol):
    """A connected device. Opening one is its constructor's business; reading never waits."""

    name: str

    def read(self, now_s: float) -> Reading:
        """The newest reading at a monotonic time. Raises DeviceLostError when the device is gone."""

    def close(self) -> None:
        """Let go of it."""
