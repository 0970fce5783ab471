"""What a policy's numbers mean: one step of 10 Hz, as the live stack takes it, or the next keyframe, for a planner.

A store and a checkpoint name their space; whoever acts in another one refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ActionSpace:
    """The layout of an action, an array whose last number is the gripper's target, 0 closed to 1 open.

    Attributes:
        name: in stores and checkpoints.
        absolute: False: translation (3, metres) and rotation vector (3, radians) of one step. True: a pose in the base
            frame to go to: position (3, metres), first and second column of the rotation (6), as in the proprioception.
        end_effector: whose pose it is.
        rate_hz: actions a second; 0 where an action takes as long as it takes.
    """

    name: str
    absolute: bool
    end_effector: str
    rate_hz: float

    @property
    def size(self) -> int:
        """Numbers of an action."""
        return 10 if self.absolute else 7

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint's ``config.json`` states it."""
        return {
            "space": self.name,
            "size": self.size,
            "end_effector": self.end_effector,
            "rate_hz": self.rate_hz,
        }


TCP_DELTA = ActionSpace("tcp_delta_pose_and_gripper", False, "fr3_hand_tcp", 10.0)
"""The action of the live stack and of the simulated cell (``control/action.py``)."""

KEYFRAME = ActionSpace("keyframe_pose_and_gripper", True, "Panda_tip", 0.0)
"""The pose and the gripper at the next keyframe, which RLBench's planner goes to; its tip is the dummy Panda_tip."""

SPACES = {space.name: space for space in (TCP_DELTA, KEYFRAME)}


def action_space(name: object) -> ActionSpace:
    """The space of this name. Raises ValueError with those that there are."""
    if not isinstance(name, str) or name not in SPACES:
        raise ValueError(f"action space: expected one of {', '.join(SPACES)}, found {name!r}")
    return SPACES[name]
