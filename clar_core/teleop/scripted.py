"""The tasks' experts in the place of an operator: for tests, and to collect in the simulated cell unattended.

Before an episode it wanders off to a random start, so that the way flown so far does not tell where the object is. In
an episode, short bursts push the arm off its way or close the hand on nothing; they name no observation, since none
caused them, so that no converter takes them for a label, while the way back from them is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from clar_core.control.action import Action
from clar_core.geometry.poses import rotation_vector_to_matrix
from clar_core.simulation.expert import OPEN, Pace, step_towards
from clar_core.simulation.perturbation import Perturbation, Perturber
from clar_core.simulation.scene import RobotIndices, compile_model
from clar_core.simulation.tasks import CellView, get_task

_DOWN = np.diag([1.0, -1.0, -1.0])
_ARRIVED_M = 0.015
_WANDER_PACE = Pace(far_m=0.025, turn_rad=0.06)

OPERATOR_PERTURBATION = Perturbation(rate=0.04, translation_m=0.015, rotation_rad=0.05)


@dataclass(frozen=True, kw_only=True)
class ScriptConfig:
    """How the expert is varied.

    Attributes:
        start_min_m, start_max_m: box in the base frame that starts are drawn from.
        start_yaw_rad: largest turn of the hand at the start.
        wander_ticks: longest way to the start.
        perturb: pushes, and misses after which it has to try again.
        linger_ticks: how long to go on after success, so that the end is seen too.
    """

    start_min_m: tuple[float, float, float] = (0.36, -0.24, 0.14)
    start_max_m: tuple[float, float, float] = (0.64, 0.24, 0.42)
    start_yaw_rad: float = 0.5
    wander_ticks: int = 40
    perturb: Perturbation = OPERATOR_PERTURBATION
    linger_ticks: int = 4


@dataclass(frozen=True, eq=False)
class Decision:
    """The step to command now, and whether the observation caused it (a burst, or the way to the start, does not)."""

    action: Action
    observed: bool


class ScriptedOperator:
    """An expert that reads the state of the simulated cell from its generalised positions.

    Args:
        task: a registered task. Raises UnknownTaskError otherwise.
        config: variation.
    """

    def __init__(self, task: str, config: ScriptConfig) -> None:
        self.task = get_task(task)
        self._config = config
        self._model = compile_model(self.task)
        self._data = mujoco.MjData(self._model)
        self._robot = RobotIndices.of(self._model)
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Prepare for an episode: the start, and the bursts, are drawn from the seed."""
        c = self._config
        rng = np.random.default_rng((seed, 4))
        self._start = rng.uniform(c.start_min_m, c.start_max_m)
        yaw = rng.uniform(-c.start_yaw_rad, c.start_yaw_rad)
        self._start_rotation = rotation_vector_to_matrix((0.0, 0.0, yaw)) @ _DOWN
        self._perturber = Perturber(c.perturb, rng)

    def view(self, qpos: ArrayLike) -> CellView:
        """The true state of the cell. Raises ValueError for positions of another scene."""
        positions = np.asarray(qpos, dtype=np.float64)
        if positions.shape != (self._model.nq,):
            raise ValueError(
                f"qpos: expected {self._model.nq} positions of {self.task.name}, got {positions.shape}; "
                "is another task in the cell?"
            )
        self._data.qpos[:] = positions
        mujoco.mj_kinematics(self._model, self._data)
        robot = self._robot
        return CellView(self._model, self._data, robot.tcp_pose(self._data), robot.gripper_width_m(self._data))

    def wander(self, view: CellView) -> Decision | None:
        """The next step on the way to the start of the episode; None once it is reached."""
        if float(np.linalg.norm(view.T_base_tcp[:3, 3] - self._start)) < _ARRIVED_M:
            return None
        step = step_towards(view.T_base_tcp, self._start, self._start_rotation, OPEN, pace=_WANDER_PACE)
        return Decision(step, observed=False)

    def act(self, view: CellView) -> Decision:
        """The expert's step, or what a push or a miss makes of it."""
        label = self.task.expert(view)
        executed = self._perturber.disturb(label.to_array(), view.T_base_tcp)
        if executed is None:
            return Decision(label, observed=True)
        return Decision(Action.from_array(executed), observed=False)
