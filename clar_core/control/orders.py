"""What the arm's controller says: its order of the moment, its answer to a command, how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clar_core.control.supervisor import Mode

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Order:
    """What the robot must do now.

    Attributes:
        twist: (6,) to follow, the correction towards the reference included; None: come to rest.
        T_reference: (4, 4) pose that an arm with a controller of its own follows instead.
        feedforward: (6,) twist of that pose.
    """

    twist: Array | None
    T_reference: Array
    feedforward: Array = field(default_factory=lambda: np.zeros(6))


@dataclass(frozen=True)
class Accepted:
    """What became of one command: executed or not, why not, what was clamped, and a change of the gripper's target."""

    executed: bool
    reason: str = ""
    clamped: tuple[str, ...] = ()
    gripper_open: bool | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """How the controller stands at one moment. The commanded pose belongs to this sequence: labels are made of the two.

    Attributes:
        mode, owner, reason: of the supervisor.
        T_commanded: (4, 4) commanded pose, after the envelope.
        gripper_target: 0 closed, 1 open, after hysteresis.
        last_sequence: of the last command that was executed.
        clamped_count, rejected_count: commands that the envelope changed, and that were dropped, since START.
    """

    mode: Mode
    owner: str
    reason: str
    T_commanded: Array
    gripper_target: float
    last_sequence: int
    clamped_count: int
    rejected_count: int
