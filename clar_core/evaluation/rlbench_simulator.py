"""RLBench's simulator behind a small class: the only module here that imports RLBench, PyRep and CoppeliaSim.

Written against RLBench 1.2.0 (https://github.com/stepjam/RLBench, January 2025). Frames are the simulator's world.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.poses import Array, matrix_to_quaternion, orthonormalize

INSTALL = """RLBench is not here. It needs Linux with an X display or a GPU, and is not on PyPI; in this environment:
  CoppeliaSim 4.1.0: unpack https://downloads.coppeliarobotics.com/V4_1_0/CoppeliaSim_Edu_V4_1_0_Ubuntu20_04.tar.xz
  export COPPELIASIM_ROOT=<that folder> QT_QPA_PLATFORM_PLUGIN_PATH=$COPPELIASIM_ROOT
  export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$COPPELIASIM_ROOT
  RLBench 1.2.0 and PyRep: pip install git+https://github.com/stepjam/RLBench.git
Without it, `--demos FOLDER` holds the policy against the keyframes of stored demonstrations."""


class SimulatorMissingError(ImportError):
    """RLBench, PyRep or CoppeliaSim cannot be imported; the message says what to install."""


class UnreachableError(RuntimeError):
    """The planner found no path to a pose, or the pose lies outside the workspace."""


def require_simulator() -> str:
    """RLBench's version. Raises SimulatorMissingError unless the simulator can be imported."""
    try:
        for module in ("pyrep.backend.sim", "rlbench.environment"):
            importlib.import_module(module)
        return str(importlib.import_module("rlbench").__version__)
    except ImportError as error:
        raise SimulatorMissingError(f"{INSTALL}\n({error})") from error


class Simulator:
    """One task in a simulator of its own; one a process.

    Args:
        task: RLBench's name of it.
        cameras: that are rendered.
        image_size: side of the square images in pixels.
        colour: render colour and point clouds too; depth alone otherwise.

    Raises:
        SimulatorMissingError: there is none.
        ValueError: RLBench has no such task.
    """

    def __init__(self, task: str, *, cameras: Sequence[str], image_size: int, colour: bool = False) -> None:
        require_simulator()
        from pyrep.const import RenderMode
        from rlbench.action_modes.action_mode import MoveArmThenGripper
        from rlbench.action_modes.arm_action_modes import EndEffectorPoseViaPlanning
        from rlbench.action_modes.gripper_action_modes import Discrete
        from rlbench.environment import Environment
        from rlbench.observation_config import CameraConfig, ObservationConfig
        from rlbench.utils import InvalidTaskName, name_to_task_class

        config = ObservationConfig()
        config.set_all(False)
        config.gripper_open = config.gripper_pose = config.gripper_joint_positions = True
        for camera in cameras:
            rendered = CameraConfig(
                rgb=colour,
                depth=True,
                point_cloud=colour,
                mask=False,
                image_size=(image_size, image_size),
                render_mode=RenderMode.OPENGL,
                depth_in_meters=True,
            )
            setattr(config, f"{camera}_camera", rendered)
        try:
            task_class = name_to_task_class(task)
        except InvalidTaskName as error:
            raise ValueError(
                f"tasks: RLBench has no {task!r} ({error}); its names are those of rlbench/tasks"
            ) from error
        mode = MoveArmThenGripper(EndEffectorPoseViaPlanning(absolute_mode=True), Discrete())
        self._environment = Environment(mode, obs_config=config, headless=True)
        self._environment.launch()
        self._task = self._environment.get_task(task_class)

    def reset(self, seed: int) -> tuple[list[str], Any]:
        """A new episode: its variation and its objects' places by seed; returns descriptions and RLBench's observation.

        RLBench draws from NumPy's global generator and its planner has one of its own, so a seed gives the same start,
        not the same trial.
        """
        np.random.seed(seed % 2**32)  # noqa: NPY002
        self._task.set_variation(seed % self._task.variation_count())
        descriptions, observation = self._task.reset()
        return list(descriptions), observation

    def go(self, T_world_tip: Array, is_open: bool) -> tuple[Any, bool, bool]:
        """Plan to a pose, follow the path, then open or close the gripper.

        Returns:
            RLBench's observation, whether the task is done, whether the episode is over.

        Raises:
            UnreachableError: no path.
        """
        from pyrep.errors import IKError
        from rlbench.backend.exceptions import InvalidActionError

        quaternion = matrix_to_quaternion(orthonormalize(T_world_tip[:3, :3]))
        action: NDArray[np.float64] = np.concatenate([T_world_tip[:3, 3], quaternion, [float(is_open)]])
        try:
            observation, reward, terminate = self._task.step(action)
        except (InvalidActionError, IKError) as error:
            raise UnreachableError(str(error)) from error
        return observation, reward > 0.5, bool(terminate)

    def time_s(self) -> float:
        """Simulated time in seconds."""
        from pyrep.backend import sim

        return float(sim.simGetSimulationTime())

    def close(self) -> None:
        """End the simulator."""
        self._environment.shutdown()
