"""A checkpoint that names where to go next: one observation in, a pose and a gripper target for a planner out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import KEYFRAME, ActionSpace
from clar_core.geometry.poses import make_pose, rotation_from_6d
from clar_core.runtime import Array, CheckpointRuntime, PolicyOutputError

_LEAST_AREA = 1e-6
"""Of the parallelogram that two rotation columns span: below, they name no rotation."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """Where to go next, and what the gripper does there.

    Attributes:
        T_base_tcp: (4, 4) float64, metres, in the base frame of the observation.
        gripper: absolute target, 0 closed to 1 open.
        stages_ms: as in ``clar_core.runtime.Decision``.
    """

    T_base_tcp: NDArray[np.float64]
    gripper: float
    stages_ms: dict[str, float]


class KeyframeRuntime(CheckpointRuntime):
    """Runs the policy of a checkpoint whose actions are the next keyframe's pose, for a planner to go to."""

    space: ClassVar[ActionSpace] = KEYFRAME

    def next_keyframe(self, cloud: Array, state: Array, instruction: str | None = None) -> Keyframe:
        """Decide on the next keyframe; arguments and errors as of ``PolicyRuntime.act``.

        Raises:
            PolicyOutputError: the rotation's columns are zero or parallel, too.
        """
        answer, stages = self._predict(cloud, state, instruction)
        begun = time.perf_counter()
        assert answer is not None  # only plans of several steps leave ticks out
        columns = answer[3:9].astype(np.float64)
        if np.linalg.norm(np.cross(columns[:3], columns[3:])) < _LEAST_AREA:
            raise PolicyOutputError(f"the policy's rotation columns span no plane: {columns}; the action was dropped")
        pose = make_pose(rotation_from_6d(columns), answer[:3])
        stages["postprocess"] += (time.perf_counter() - begun) * 1e3
        return Keyframe(pose, float(answer[9]), stages)
