"""Who drives a trial of RLBench: our policies, and others behind the same interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clar_core.data.rlbench_scene import T_BASE_WORLD, camera_of, millimetres, observe
from clar_core.geometry.poses import Array, inverse, pose_from_quaternion
from clar_core.keyframe_runtime import KeyframeRuntime

OURS, RVT2 = "clar", "rvt2"


class KeyframeActor(Protocol):
    """Whoever names the next keyframe.

    Attributes:
        cameras: that it needs.
        colour: whether it needs colour and RLBench's point clouds, too.
    """

    cameras: tuple[str, ...]
    colour: bool

    def begin(self, instruction: str) -> None:
        """A trial begins: forget the one before."""

    def decide(self, observation: Any) -> tuple[Array, bool]:
        """``T_world_tip`` (4, 4) to go to and whether the gripper is open there, from RLBench's observation.

        Raises:
            TooFewPointsError: the crop box is all but empty.
            PolicyOutputError: the answer is no pose.
        """


class KeyframePolicy:
    """A checkpoint of ``clar train`` on keyframes, through the one observation path.

    Args:
        checkpoint: its directory.
        camera: that it sees through.

    Raises:
        CheckpointError: it cannot be read, or its actions are no keyframes.
    """

    cameras: tuple[str, ...]
    colour: bool = False

    def __init__(self, checkpoint: Path, camera: str = "front") -> None:
        # One arithmetic on every machine and under every load, as in the simulated cell.
        self.runtime = KeyframeRuntime.load(checkpoint, device="cpu", dtype="float32")
        self.cameras = (camera,)
        self._instruction = ""

    def begin(self, instruction: str) -> None:
        """See :class:`KeyframeActor`. Raises InstructionError for a sentence that the policy cannot understand."""
        self.runtime.check_instruction(instruction)
        self.runtime.reset()
        self._instruction = instruction

    def decide(self, observation: Any) -> tuple[Array, bool]:
        """See :class:`KeyframeActor`."""
        camera = self.cameras[0]
        depth_m = np.asarray(getattr(observation, f"{camera}_depth"))
        K, extrinsics = (observation.misc[f"{camera}_camera_{name}"] for name in ("intrinsics", "extrinsics"))
        intrinsics, T_world_camera = camera_of(K, extrinsics, depth_m.shape[1], depth_m.shape[0])
        pose = np.asarray(observation.gripper_pose, dtype=np.float64)
        cloud, state = observe(
            millimetres(depth_m),
            intrinsics,
            T_BASE_WORLD @ T_world_camera,
            T_BASE_WORLD @ pose_from_quaternion(pose[:3], pose[3:]),
            bool(observation.gripper_open > 0.5),
            self.runtime.spec,
        )
        keyframe = self.runtime.next_keyframe(cloud, state, self._instruction)
        return inverse(T_BASE_WORLD) @ keyframe.T_base_tcp, keyframe.gripper > 0.5


def make_actor(policy: str, source: str, *, camera: str, steps: int) -> KeyframeActor:
    """The actor of a kind, ``OURS`` or ``RVT2``.

    Args:
        source: checkpoint directory, or RVT-2's file of weights.
        camera: of ours.
        steps: decisions in a trial at most, which RVT-2 counts.
    """
    if policy == RVT2:
        from clar_core.evaluation.rvt2 import Rvt2

        return Rvt2(Path(source), steps)
    return KeyframePolicy(Path(source), camera)
