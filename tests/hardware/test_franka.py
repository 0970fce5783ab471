"""The arm's driver against an unmodified franky and a simulated FR3."""

import time
from pathlib import Path

import numpy as np
import pytest

from clar.drivers.franka import FrankaArm, FrankaConfig
from clar_core.control.robot import RobotError
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from tests.simulated_robot import START_JOINTS_RAD, SimulatedRobot

PATIENCE_S = 60.0


def until_at_rest(arm: FrankaArm) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while arm.poll():
        assert time.monotonic() < end_s, "the motion does not end"
        time.sleep(0.005)


def stream(arm: FrankaArm, twist: np.ndarray, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        arm.send_twist(twist)
        time.sleep(0.02)


def test_a_reading_is_complete_and_consistent(arm: FrankaArm) -> None:
    reading = arm.read()
    assert reading.T_base_tcp == pytest.approx(arm.tcp_pose(reading.joints_rad), abs=1e-3)
    assert reading.robot_mode == "Idle"
    assert reading.errors == ()
    assert reading.command_success_rate == 1.0
    assert reading.jacobian.shape == (6, 7)


def test_a_twist_moves_the_tcp_in_the_base_frame(arm: FrankaArm) -> None:
    before = arm.read().T_base_tcp
    stream(arm, np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.0]), 0.4)
    arm.ramp_down()
    until_at_rest(arm)
    moved = arm.read().T_base_tcp[:3, 3] - before[:3, 3]
    assert moved[1] > 0.002
    assert np.abs(moved[[0, 2]]).max() < 0.2 * moved[1] + 1e-3


def test_without_another_twist_the_arm_stops_by_itself(arm: FrankaArm, robot: SimulatedRobot) -> None:
    stream(arm, np.array([0.0, -0.05, 0.0, 0.0, 0.0, 0.0]), 0.3)
    sent = arm.read().T_base_tcp[1, 3]
    until_at_rest(arm)
    reading = arm.read()
    assert abs(reading.T_base_tcp[1, 3] - sent) < 0.02
    assert np.abs(reading.twist[:3]).max() < 2e-3


def test_ramping_down_without_a_motion_does_nothing(arm: FrankaArm) -> None:
    arm.ramp_down()
    assert not arm.poll()


@pytest.mark.parametrize("twist", [np.full(6, np.nan), np.zeros(5), np.array([np.inf, 0, 0, 0, 0, 0])])
def test_a_twist_that_is_not_finite_never_reaches_the_robot(arm: FrankaArm, twist: np.ndarray) -> None:
    with pytest.raises(RobotError, match="6 finite numbers"):
        arm.send_twist(twist)
    assert not arm.poll()


def test_a_joint_motion_arrives(arm: FrankaArm) -> None:
    goal = np.array(START_JOINTS_RAD) + np.array([0.05, 0, 0, 0, 0, 0, 0])
    arm.start_joint_motion(goal, speed=0.3)
    until_at_rest(arm)
    assert arm.read().joints_rad == pytest.approx(goal, abs=0.02)


def test_twists_and_joint_motions_follow_each_other(arm: FrankaArm) -> None:
    stream(arm, np.array([0.0, 0.03, 0.0, 0.0, 0.0, 0.0]), 0.1)
    arm.ramp_down()
    until_at_rest(arm)
    arm.start_joint_motion(np.array(START_JOINTS_RAD), speed=0.3)
    arm.ramp_down()
    until_at_rest(arm)
    stream(arm, np.zeros(6), 0.1)


def test_another_end_effector_is_refused_with_both_matrices(robot: SimulatedRobot) -> None:
    flange_T_tcp = make_pose(rotation_vector_to_matrix([0, 0, -np.pi / 4]), [0, 0, 0.2])
    with pytest.raises(RobotError, match=r"F_T_EE(.|\n)*0\.2 (.|\n)*0\.1034(.|\n)*Desk"):
        FrankaArm(FrankaConfig(host=robot.address, realtime=False, flange_T_tcp=flange_T_tcp))


def test_no_robot_at_the_address_is_named_with_the_next_step(fci_address: str) -> None:
    with pytest.raises(RobotError, match=f"no robot at {fci_address}: .*robot_ip.*FCI"):
        FrankaArm(FrankaConfig(host=fci_address, realtime=False))


def test_without_a_real_time_kernel_a_robot_is_refused(robot: SimulatedRobot) -> None:
    if Path("/sys/kernel/realtime").exists():
        pytest.skip("this machine has a real-time kernel")
    with pytest.raises(RobotError, match="PREEMPT_RT"):
        FrankaArm(FrankaConfig(host=robot.address, realtime=True))


def test_a_lost_connection_is_named_and_recovery_connects_again(fci_address: str) -> None:
    with SimulatedRobot(fci_address):
        arm = FrankaArm(FrankaConfig(host=fci_address, realtime=False))
    end_s = time.monotonic() + PATIENCE_S
    with pytest.raises(RobotError, match=r"lost .*clar recover"):  # noqa: PT012
        while time.monotonic() < end_s:
            arm.read()
    with pytest.raises(RobotError, match="no robot at"):
        arm.recover()
    with SimulatedRobot(fci_address):
        arm.recover()
        assert arm.read().robot_mode == "Idle"
        arm.close()
