"""Does the gymnasium front move as the live front does? One sequence of actions, replayed on both and compared.

The gymnasium front is where policies are trained, the live front is where they meet real drivers and a real clock; what
is learnt on the first holds on the second only as far as the two agree. Both start from the same seed, take the same
7-D actions at 10 Hz and rest for a second; compared are the TCP poses at every tick and at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import STEP_PERIOD_S
from clar_core.control.commands import Command
from clar_core.control.controller import ArmController, ControllerSettings
from clar_core.control.envelope import EnvelopeLimits
from clar_core.control.loop import ArmLoop
from clar_core.control.robot import ArmDriver, GripperDriver
from clar_core.control.supervisor import Mode
from clar_core.geometry.poses import Array, delta_between
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.live import LiveCell
from clar_core.simulation.live_view import LiveView
from clar_core.simulation.scene import MOTION_BOX_MAX_M, MOTION_BOX_MIN_M

REST_STEPS = 10

_SOURCE = "replay"


class ReplayError(RuntimeError):
    """The live arm stopped in the middle of a replay; the message is the supervisor's reason."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What one front did.

    Attributes:
        poses: (ticks, 4, 4) ``T_base_tcp`` when each action was issued, then every 100 ms of the rest at the end.
        gripper_width_m: opening of the hand at the end.
        success: whether the task was done at the end.
    """

    poses: Array
    gripper_width_m: float
    success: bool


@dataclass(frozen=True)
class Difference:
    """How far two replays are apart: at the end, and on the way at the same tick."""

    final_translation_m: float
    final_rotation_rad: float
    mean_translation_m: float
    largest_translation_m: float
    lag_s: float
    """Time by which the second replay trails the first where the two agree best."""


def expert_actions(task: str, seed: int, max_steps: int = 200) -> Array:
    """Actions (n, 7) with which the expert does a task in the gymnasium front."""
    env = CellEnv(_config(task))
    env.reset(seed=seed)
    actions = []
    for _ in range(max_steps):
        actions.append(env.expert().to_array())
        *_, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            break
    env.close()
    return np.array(actions)


def free_actions(seed: int, steps: int = 40, *, step_m: float = 0.01, step_rad: float = 0.03) -> Array:
    """Actions (steps, 7) through free space: stretches of constant speed with turns between them, and back again.

    ``step_m`` and ``step_rad`` bound each axis of one 10 Hz step.
    """
    random = np.random.default_rng(seed)
    half = np.zeros((steps // 2, 7))
    for begin in range(0, len(half), 5):
        half[begin : begin + 4, :3] = random.uniform(-step_m, step_m, 3)
        half[begin : begin + 4, 3:6] = random.uniform(-step_rad, step_rad, 3)
    actions = np.concatenate([half, -half[::-1]])
    actions[:, 6] = 1.0
    return actions


def replay_gym(actions: Array, task: str, seed: int) -> Replay:
    """Replay actions (n, 7) on the gymnasium front."""
    env = CellEnv(_config(task))
    env.reset(seed=seed)
    poses = [env.view.T_base_tcp]
    for action in actions:
        env.step(action)
        poses.append(env.view.T_base_tcp)
    for _ in range(REST_STEPS):
        env.robot.advance(STEP_PERIOD_S)
        poses.append(env.view.T_base_tcp)
    result = Replay(np.array(poses), env.view.gripper_width_m, env.task.success(env.view))
    env.close()
    return result


def replay_live(actions: Array, seed: int, cell: LiveCell, arm: ArmDriver, gripper: GripperDriver | None) -> Replay:
    """Replay actions (n, 7) on a live cell, through drivers that are connected to it and the arm's control loop.

    The arm must stand at home.

    Raises:
        ReplayError: the arm halted.
    """
    cell.reset(seed)
    controller = ArmController(
        ControllerSettings(
            envelope=EnvelopeLimits(motion_box_min_m=MOTION_BOX_MIN_M, motion_box_max_m=MOTION_BOX_MAX_M)
        )
    )
    loop = ArmLoop(controller, arm, gripper)
    loop.start()
    try:
        poses = _drive(actions, controller, loop)
    finally:
        loop.close("end of the replay")
    view = LiveView(cell.task)
    view.show(cell.snapshot())
    result = Replay(poses, view.truth.gripper_width_m, view.success())
    view.close()
    return result


def _drive(actions: Array, controller: ArmController, loop: ArmLoop) -> Array:
    state = loop.state
    controller.arm(state.arm, state.gripper, time.monotonic())
    controller.start(_SOURCE, state.arm, state.gripper, time.monotonic())
    poses = []
    begin_s = time.monotonic() + STEP_PERIOD_S
    for tick in range(len(actions) + REST_STEPS + 1):
        time.sleep(max(0.0, begin_s + tick * STEP_PERIOD_S - time.monotonic()))
        if controller.mode is not Mode.RUNNING:
            raise ReplayError(f"the arm stopped at tick {tick}: {controller.reason}")
        measured = loop.state.arm.T_base_tcp
        poses.append(measured)
        action = actions[tick] if tick < len(actions) else np.array([0, 0, 0, 0, 0, 0, actions[-1, 6]])
        now_ns = time.time_ns()
        command = Command(action, _SOURCE, tick + 1, "fr3_link0", now_ns, 0)
        accepted = controller.accept(command, measured, now_ns, time.monotonic())
        if accepted.gripper_open is not None:
            loop.command_gripper(accepted.gripper_open)
    return np.array(poses)


def compare(reference: Replay, other: Replay) -> Difference:
    """How far ``other`` is from ``reference``."""
    count = min(len(reference.poses), len(other.poses))
    a, b = reference.poses[:count], other.poses[:count]
    distance = np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1)
    _, rotation = delta_between(a[-1], b[-1])
    return Difference(
        final_translation_m=float(distance[-1]),
        final_rotation_rad=float(np.linalg.norm(rotation)),
        mean_translation_m=float(distance.mean()),
        largest_translation_m=float(distance.max()),
        lag_s=_lag_s(a[:, :3, 3], b[:, :3, 3]),
    )


def _lag_s(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The shift of ``b`` against ``a``, sampled every 100 ms, at which they are nearest."""
    times = STEP_PERIOD_S * np.arange(len(a))
    inner = times[2:-2]

    def distance(shift_s: float) -> float:
        shifted = np.stack([np.interp(inner + shift_s, times, b[:, axis]) for axis in range(3)], axis=1)
        return float(np.linalg.norm(shifted - a[2:-2], axis=1).mean())

    shifts = np.arange(-0.15, 0.151, 0.005)
    return float(shifts[int(np.argmin([distance(float(s)) for s in shifts]))])


def _config(task: str) -> EnvConfig:
    return EnvConfig(task=task, render_depth=False, home_jitter_rad=0.0, command_delay_s=(0.0, 0.0))
