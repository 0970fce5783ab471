"""Samples from the simulated cell without a running stack: rendered board, depth noise, joint noise. For the tests and
for measuring the calibration itself against a known truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_calibration.kinematics import Arm
from clar_calibration.problem import HandEye
from clar_calibration.samples import Rig, Sample, SetUp
from clar_calibration.simulated import BOARD, T_TCP_BOARD, board_plate
from clar_core.geometry.poses import Array, inverse
from clar_core.simulation.camera import (
    COLOR_INTRINSICS,
    DEPTH_INTRINSICS,
    T_BASE_DEPTH,
    T_DEPTH_COLOR,
    T_LINK_DEPTH,
    ColorCamera,
    DepthCamera,
)
from clar_core.simulation.depth_noise import DepthNoise
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, RobotIndices, compile_model, place_camera
from clar_core.simulation.tasks import get_task


@dataclass(frozen=True)
class SensorNoise:
    """Noise of the rendered samples, one standard deviation.

    Attributes:
        joint_rad: of each joint angle as it is measured.
        grey: of each colour value, of 255.
        depth: disturb the depth as a D455 does.
    """

    joint_rad: float = np.radians(0.02)
    grey: float = 2.0
    depth: bool = True


class RenderedCell:
    """The simulated cell with a board, at joint positions of one's choice.

    Args:
        set_up: board on the hand and the cell's static camera; or the camera on the hand and the board on the table.
        board: what is printed.
        T_carrier_board: (4, 4) how the hand holds it, or where it lies on the table.
        T_parent_depth: (4, 4) the depth camera in its parent's frame.
        noise: of the samples.
        task: whose objects stand in the cell.
    """

    def __init__(
        self,
        set_up: SetUp = "eye_to_hand",
        *,
        board: Board = BOARD,
        T_carrier_board: Array = T_TCP_BOARD,
        T_parent_depth: Array = T_BASE_DEPTH,
        noise: SensorNoise = SensorNoise(),
        task: str = "place_cube_in_basin",
        seed: int = 0,
    ) -> None:
        self.set_up = set_up
        self.noise = noise
        self.T_parent_depth = T_parent_depth
        self.truth = HandEye(T_parent_depth @ T_DEPTH_COLOR, T_carrier_board)
        plate = board_plate(board, T_carrier_board, on_hand=set_up == "eye_to_hand")
        self.model = compile_model(get_task(task), plate=plate)
        self.data = mujoco.MjData(self.model)
        get_task(task).reset(self.model, self.data, np.random.default_rng(seed))
        self.arm = Arm(self.model)
        self._robot = RobotIndices.of(self.model)
        self._color = ColorCamera(self.model, supersampling=2)
        self._depth = DepthCamera(self.model, DepthNoise() if noise.depth else None, seed=seed)
        self.rig = Rig(
            set_up=set_up,
            board=board,
            color=COLOR_INTRINSICS,
            depth=DEPTH_INTRINSICS,
            T_depth_color=T_DEPTH_COLOR,
            T_link_depth=T_LINK_DEPTH,
            camera_serial="simulated",
        )

    def place(self, T_parent_depth: Array) -> None:
        """Move the camera."""
        self.T_parent_depth = T_parent_depth
        self.truth = HandEye(T_parent_depth @ T_DEPTH_COLOR, self.truth.Y)

    def sample(self, joints_rad: Array, random: np.random.Generator) -> Sample:
        """What camera and robot measure at joint positions (7,)."""
        self.show(joints_rad)
        measured = np.asarray(joints_rad) + random.normal(0.0, self.noise.joint_rad, 7)
        return Sample(
            T_base_tcp=self.arm.pose(measured),
            color=self.color(random),
            depth=self.depth(random),
            joints_rad=measured,
        )

    def show(self, joints_rad: Array) -> None:
        """Put the arm, and a camera that it carries, where they are to be seen."""
        self.data.qpos[self._robot.arm_qpos] = joints_rad
        self.data.qpos[self._robot.finger_qpos] = HAND_MAX_WIDTH_M / 2
        carried = self._robot_pose() if self.set_up == "eye_in_hand" else np.eye(4)
        place_camera(self.model, carried @ self.T_parent_depth)
        mujoco.mj_forward(self.model, self.data)

    def color(self, random: np.random.Generator) -> NDArray[np.uint8]:
        """Colour image (480, 640, 3) of what is shown."""
        image = self._color.render(self.data)
        noisy = image + random.normal(0.0, self.noise.grey, image.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)

    def depth(self, random: np.random.Generator) -> NDArray[np.uint16]:
        """Depth image (480, 640) in millimetres of what is shown."""
        return self._depth.render(self.data, random)

    def close(self) -> None:
        """Free the renderers."""
        self._color.close()
        self._depth.close()

    def __enter__(self) -> RenderedCell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _robot_pose(self) -> Array:
        mujoco.mj_kinematics(self.model, self.data)
        return self._robot.tcp_pose(self.data)


def relative_to_truth(T_truth: Array, T: Array) -> tuple[float, float]:
    """Error of a pose in mm and degrees."""
    error = inverse(T_truth) @ T
    angle = np.arccos(np.clip((np.trace(error[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))
    return float(np.linalg.norm(error[:3, 3])) * 1e3, float(np.degrees(angle))
