"""The simulated FR3 behind the control interface: it holds, tracks twists, and grasps. Tick by tick, no clock."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from clar_core.geometry.poses import delta_between
from clar_core.simulation.live_robot import TICK_S, LiveRobot
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, HOME_JOINT_POSITIONS_RAD, RobotIndices, compile_model
from clar_core.simulation.tasks import get_task


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return compile_model(get_task("place_cube_in_basin"), timestep_s=TICK_S)


@pytest.fixture
def robot(model: mujoco.MjModel) -> LiveRobot:
    data = mujoco.MjData(model)
    indices = RobotIndices.of(model)
    data.qpos[indices.arm_qpos] = HOME_JOINT_POSITIONS_RAD
    data.qpos[indices.finger_qpos] = HAND_MAX_WIDTH_M / 2
    return LiveRobot(model, data)


def _hold(robot: LiveRobot, ticks: int) -> None:
    for _ in range(ticks):
        robot.joint_position_control(HOME_JOINT_POSITIONS_RAD)
        robot.step()


def test_it_holds_its_joints_against_gravity(robot: LiveRobot) -> None:
    _hold(robot, 500)
    assert np.abs(robot.state.q - HOME_JOINT_POSITIONS_RAD).max() < 1e-4


def test_reported_pose_is_that_of_the_kinematics_that_the_client_uses(robot: LiveRobot) -> None:
    _hold(robot, 10)
    expected = robot.kinematics(robot.state.q.astype(np.float64)).homogeneous
    translation, rotation = delta_between(robot.T_base_tcp, expected)
    assert np.linalg.norm(translation) < 1e-5
    assert np.linalg.norm(rotation) < 1e-5


def test_reported_end_effector_is_the_franka_hand(robot: LiveRobot) -> None:
    F_T_EE = robot.state.F_T_EE.reshape(4, 4, order="F")
    half = np.sqrt(0.5)
    np.testing.assert_allclose(F_T_EE[:3, :3], [[half, half, 0], [-half, half, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(F_T_EE[:3, 3], (0.0, 0.0, 0.1034), atol=1e-6)


@pytest.mark.parametrize("axis", range(6))
def test_tcp_follows_a_commanded_twist(robot: LiveRobot, axis: int) -> None:
    twist = np.zeros(6)
    twist[axis] = 0.1 if axis < 3 else 0.5
    _hold(robot, 10)
    for _ in range(100):
        robot.cartesian_velocity_control(twist, None)
        robot.step()
    begin = robot.T_base_tcp
    for _ in range(200):
        robot.cartesian_velocity_control(twist, None)
        robot.step()
    moved = np.concatenate(delta_between(begin, robot.T_base_tcp)) / 0.2
    # The joints' dry friction, which a velocity servo does not overcome entirely, costs a few percent.
    assert np.linalg.norm((moved - twist)[:3]) < 0.01
    assert np.linalg.norm((moved - twist)[3:]) < 0.05


def test_commanded_twist_and_its_derivative_are_reported_back(robot: LiveRobot) -> None:
    for tick in range(200):
        robot.cartesian_velocity_control(np.array([0.0, 0.001 * tick, 0.0, 0.0, 0.0, 0.0]), None)
        robot.step()
    assert robot.state.O_dP_EE_c[1] == pytest.approx(0.199)
    assert robot.state.O_ddP_EE_c[1] == pytest.approx(1.0, rel=0.01)


def _ticks_to_close(robot: LiveRobot, speed_m_s: float) -> int:
    robot.set_hand_goal(0.0, speed_m_s, 20.0)
    for tick in range(5000):
        _hold(robot, 1)
        if robot.hand_width < 0.01:
            return tick
    raise AssertionError(f"the hand is still open: {robot.hand_width} m")


def test_hand_opens_and_closes_and_slower_when_asked(robot: LiveRobot) -> None:
    robot.set_hand_goal(HAND_MAX_WIDTH_M, 0.05, 70.0)
    _hold(robot, 100)
    assert robot.hand_width == pytest.approx(HAND_MAX_WIDTH_M, abs=1e-3)
    fast = _ticks_to_close(robot, 0.05)
    robot.set_hand_goal(HAND_MAX_WIDTH_M, 0.05, 70.0)
    _hold(robot, 1000)
    assert _ticks_to_close(robot, 0.01) > 1.5 * fast


def test_hand_grasps_with_the_force_it_is_given(robot: LiveRobot) -> None:
    robot.set_hand_goal(0.0, 0.05, 15.0)
    _hold(robot, 1)
    assert robot.finger_forces_n.tolist() == pytest.approx([-15.0, -15.0])


def test_another_end_effector_moves_the_reported_pose(robot: LiveRobot) -> None:
    before = robot.T_base_tcp
    offset = np.eye(4)
    offset[2, 3] = 0.05
    robot.set_NE_T_EE(tuple(offset.reshape(16, order="F")))
    np.testing.assert_allclose(robot.T_base_tcp, before @ offset, atol=1e-9)
