"""The gymnasium front of the simulated cell: deterministic by seed and several times faster than real time.

One step is one 10 Hz tick. The observation is captured at its start; the action takes effect a command delay later,
as on the live front, and is held for 100 ms. Observations are built by ``clar_core.observation.builder`` from a
rendered D455 depth image, the same code that the live nodes run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import Action, GripperHysteresis
from clar_core.control.envelope import Envelope, EnvelopeLimits
from clar_core.control.robot import OBJECT_LOST, GraspWatch
from clar_core.control.tracking import CONTROL_PERIOD_S
from clar_core.data.episode import PosedImage
from clar_core.observation.builder import TooFewPointsError, build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.camera import COLOR_CAMERA, CameraMove, DepthCamera
from clar_core.simulation.depth_noise import DepthNoise
from clar_core.simulation.image_camera import ImageCamera
from clar_core.simulation.robot import RobotTiming, SimulatedRobot
from clar_core.simulation.scene import (
    HOME_JOINT_POSITIONS_RAD,
    MOTION_BOX_MAX_M,
    MOTION_BOX_MIN_M,
    camera_pose,
    compile_model,
    place_camera,
)
from clar_core.simulation.tasks import CellView, Task, get_task

Observation = dict[str, NDArray[Any]]

STEP_S = 0.1
CELL_SPEC = ObservationSpec(crop_min_m=(0.25, -0.42, 0.010), crop_max_m=(0.80, 0.42, 0.36))
"""The observation of the simulated cell's checkpoints: the table's working area, without most of the arm."""


@dataclass(frozen=True)
class EnvConfig:
    """What the environment simulates.

    Attributes:
        task: a registered task.
        spec: the observation.
        render_depth: False leaves the cloud out of the observation (experts and state-based controls need none).
        image_size: side of the square colour image in the observation; 0 leaves it out.
        noise: depth noise, None for exact depth.
        command_delay_s: range of the delay from capture to the command's effect, drawn for each step in multiples of
            20 ms; the live front shows 40 to 80 ms.
        home_jitter_rad: the start's joint positions are drawn within this of home.
        timing: delays and response of the robot.
        halt_on_object_lost: the trial ends when the gripper loses what it grasped, as the arm halts then.
        camera_move: where the camera stands instead, drawn at every reset; None leaves it where it is in training.
    """

    task: str = "place_cube_in_basin"
    spec: ObservationSpec = CELL_SPEC
    render_depth: bool = True
    image_size: int = 0
    noise: DepthNoise | None = field(default_factory=DepthNoise)
    command_delay_s: tuple[float, float] = (0.04, 0.08)
    home_jitter_rad: float = 0.03
    timing: RobotTiming = field(default_factory=RobotTiming)
    halt_on_object_lost: bool = True
    camera_move: CameraMove | None = None


class CellEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """``{"cloud": (n, 3) metres in the base frame, "state": (10,)}`` out, the 7-D action of ``control/action.py`` in.

    With an image size, ``"image": (S, S, 3) uint8 RGB`` is in the observation too, what the colour camera sees.
    Actions pass the same envelope as on the robot. Reward is 1 while the task's success predicate holds, and the
    episode terminates there. It is truncated at the task's time limit, and when the arm would halt: by its envelope, or
    because the gripper lost what it held.
    ``info`` carries ``success``, ``too_few_points``, ``clamped`` (limits that scaled the action) and ``halt`` (why, or
    None).
    """

    def __init__(self, config: EnvConfig = EnvConfig()) -> None:
        self.config = config
        self.task: Task = get_task(config.task)
        self.model = compile_model(self.task)
        self.data = mujoco.MjData(self.model)
        self.robot = SimulatedRobot(self.model, self.data, config.timing)
        self._envelope = Envelope(EnvelopeLimits(motion_box_min_m=MOTION_BOX_MIN_M, motion_box_max_m=MOTION_BOX_MAX_M))
        self.camera = DepthCamera(self.model, config.noise) if config.render_depth else None
        self.image_camera = ImageCamera(self.model, config.image_size) if config.image_size else None
        self._T_base_trained = self.T_base_camera = camera_pose(self.model)
        """What the observation path is told of the camera's pose; the truth unless a caller disturbs it."""
        low, high = np.array(config.spec.crop_min_m), np.array(config.spec.crop_max_m)
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (10,), np.float32),
        }
        if config.render_depth:
            point = gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32), (3,), np.float32)
            spaces["cloud"] = gymnasium.spaces.Sequence(point, stack=True)
        if config.image_size:
            spaces["image"] = gymnasium.spaces.Box(0, 255, (config.image_size, config.image_size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        limit = np.array([0.05] * 3 + [0.25] * 3 + [1.0], dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(np.r_[-limit[:6], 0.0].astype(np.float32), limit, (7,), np.float32)

    @property
    def steps(self) -> int:
        """Ticks since the reset."""
        return self._steps

    @property
    def view(self) -> CellView:
        """The true state, for predicates and experts."""
        return CellView(self.model, self.data, self.robot.T_base_tcp, self.robot.gripper_width_m)

    @property
    def start_m(self) -> tuple[float, float]:
        """Where the object that is handled first stands now: x and y, metres in the base frame."""
        x, y = self.view.body_pose(self.task.objects[0])[:2, 3]
        return float(x), float(y)

    def expert(self) -> Action:
        """The expert's action in the present state."""
        return self.task.expert(self.view)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a start. The same seed gives the same start, whatever was run before."""
        super().reset(seed=seed)
        self._move_camera(seed)
        mujoco.mj_resetData(self.model, self.data)
        # The task draws first: the live front draws the same start from the same seed.
        self.task.reset(self.model, self.data, self.np_random)
        jitter = self.np_random.uniform(-1, 1, 7) * self.config.home_jitter_rad
        self.robot.reset(np.array(HOME_JOINT_POSITIONS_RAD) + jitter)
        self.robot.advance(STEP_S)
        self._hysteresis = GripperHysteresis(True)
        self._envelope.reset()
        self._grasp = GraspWatch()
        self._commanded = self.robot.T_base_tcp
        self._steps = 0
        self._limit = round(self.task.time_limit_s / STEP_S)
        observation, short = self._observe()
        return observation, {"success": False, "too_few_points": short, "clamped": (), "halt": None}

    def step(self, action: NDArray[np.floating[Any]]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One 100 ms tick. Raises InvalidActionError for a non-finite or wrongly shaped action."""
        step = Action.from_array(np.asarray(action, dtype=np.float64))
        low, high = (round(d / CONTROL_PERIOD_S) for d in self.config.command_delay_s)
        delay_s = CONTROL_PERIOD_S * int(self.np_random.integers(low, high + 1))
        lost = self._advance(delay_s)
        result = self._envelope.apply(self._commanded, step, self.robot.T_base_tcp, self.robot.time_s)
        self._commanded = result.T_target
        self.robot.command(self._commanded, self._hysteresis.update(step.gripper))
        lost = self._advance(STEP_S - delay_s) or lost
        self._steps += 1
        success = self.task.success(self.view)
        observation, short = self._observe()
        halt = result.halt or (OBJECT_LOST if lost and not success else None)
        info = {"success": success, "too_few_points": short, "clamped": result.clamped, "halt": halt}
        truncated = self._steps >= self._limit or halt is not None
        return observation, float(success), success, truncated, info

    def close(self) -> None:
        """Free the renderer."""
        for camera in (self.camera, self.image_camera):
            if camera is not None:
                camera.close()

    def posed_image(self, image: NDArray[np.uint8]) -> PosedImage:
        """The observation's image with the depth of its pixels and its place, as a store keeps it.

        Raises:
            ValueError: the environment makes no images.
        """
        if self.image_camera is None:
            raise ValueError("image_size: 0, so this environment makes no images")
        pose = camera_pose(self.model, COLOR_CAMERA)
        return PosedImage(image, self.image_camera.depth(self.data), self.image_camera.intrinsics, pose)

    def _advance(self, duration_s: float) -> bool:
        """Let simulated time pass; whether the arm would halt because the gripper lost what it held."""
        lost = False
        for _ in range(round(duration_s / CONTROL_PERIOD_S)):
            self.robot.advance(CONTROL_PERIOD_S)
            lost |= self._grasp.is_lost(self.robot.hand.reading())
        return lost and self.config.halt_on_object_lost

    def _move_camera(self, seed: int | None) -> None:
        """Apart from the start's randomness: the same seed gives the same start wherever the camera stands."""
        move = self.config.camera_move
        if move is not None:
            moved = move.pose(self._T_base_trained, 0 if seed is None else seed)
            place_camera(self.model, moved)
            self.T_base_camera = moved if move.recalibrated else self._T_base_trained

    def _observe(self) -> tuple[Observation, bool]:
        spec = self.config.spec
        seen: Observation = {"state": proprioception(self.robot.T_base_tcp, self.robot.gripper_width_m, spec)}
        if self.image_camera is not None:
            seen["image"] = self.image_camera.image(self.data)
        if self.camera is None:
            return seen, False
        depth = self.camera.render(self.data, self.np_random)
        try:
            cloud = build_cloud(depth, self.camera.intrinsics, self.T_base_camera, spec)
        except TooFewPointsError:
            return {**seen, "cloud": np.zeros((0, 3), np.float32)}, True
        return {**seen, "cloud": cloud}, False
