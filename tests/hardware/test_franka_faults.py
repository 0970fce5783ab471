"""The arm's driver against a robot that fails on request."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from clar.drivers.franka import FrankaArm, FrankaConfig
from clar.drivers.franka_gripper import FrankaGripper, FrankaGripperConfig
from clar_core.control.robot import GripperReading, RobotError
from tests.hardware.fci_emulator import FciEmulator

PATIENCE_S = 60.0
FORWARD = np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def robot(fci_address: str) -> Iterator[FciEmulator]:
    with FciEmulator(fci_address) as robot:
        yield robot


@pytest.fixture
def arm(robot: FciEmulator) -> Iterator[FrankaArm]:
    with FrankaArm(FrankaConfig(host=robot.address, realtime=False)) as arm:
        yield arm


def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"waited for {what}"
        time.sleep(0.005)


def start_moving(arm: FrankaArm) -> None:
    arm.send_twist(FORWARD)
    until(lambda: arm.read().robot_mode == "Move", "the motion")


def until_it_raises(arm: FrankaArm) -> str:
    """Stream twists until the driver reports a fault; its text."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            arm.read()
            arm.poll()
            arm.send_twist(FORWARD)
        except RobotError as error:
            return str(error)
        time.sleep(0.02)
    raise AssertionError("no fault was reported")


def test_twists_move_the_emulated_arm(arm: FrankaArm) -> None:
    start_m = arm.read().T_base_tcp[0, 3]
    end_s = time.monotonic() + PATIENCE_S
    while arm.read().T_base_tcp[0, 3] < start_m + 0.005:
        assert time.monotonic() < end_s
        arm.send_twist(FORWARD)
        time.sleep(0.02)
    assert arm.read().T_base_tcp == pytest.approx(arm.tcp_pose(arm.read().joints_rad), abs=1e-4)


@pytest.mark.parametrize("error", ["cartesian_reflex", "joint_reflex", "communication_constraints_violation"])
def test_a_reflex_is_named_and_ended_by_recovery(robot: FciEmulator, arm: FrankaArm, error: str) -> None:
    start_moving(arm)
    robot.fail(error)
    assert error in until_it_raises(arm)
    reading = arm.read()
    assert reading.robot_mode == "Reflex"
    assert reading.errors == (error,)
    arm.recover()
    assert arm.read().errors == ()
    arm.send_twist(FORWARD)
    assert arm.poll()


def test_the_user_stop_shows_and_is_not_recovered_from(robot: FciEmulator, arm: FrankaArm) -> None:
    start_moving(arm)
    robot.press_user_stop()
    until_it_raises(arm)
    arm.recover()
    assert arm.read().robot_mode == "UserStopped"
    robot.set_mode("IDLE")
    until(lambda: arm.read().robot_mode == "Idle", "the released user stop")


def test_the_success_rate_counts_only_in_motion(robot: FciEmulator, arm: FrankaArm) -> None:
    robot.set_success_rate(0.7)
    assert arm.read().command_success_rate == 1.0
    arm.send_twist(np.zeros(6))
    until(lambda: arm.read().robot_mode == "Move", "the motion")
    arm.send_twist(np.zeros(6))
    assert arm.read().command_success_rate == pytest.approx(0.7)


def test_a_frozen_robot_is_a_lost_connection_not_a_hang(robot: FciEmulator, arm: FrankaArm) -> None:
    start_moving(arm)
    robot.freeze()
    start_s = time.monotonic()
    assert "clar recover" in until_it_raises(arm)
    assert time.monotonic() - start_s < 15.0
    robot.thaw()
    arm.recover()
    assert arm.read().robot_mode == "Idle"


def test_collision_thresholds_load_and_guiding_axes_are_set_explicitly(robot: FciEmulator) -> None:
    inertia = (1e-3, 0.0, 0.0, 0.0, 2e-3, 0.0, 0.0, 0.0, 3e-3)
    config = FrankaConfig(
        host=robot.address,
        realtime=False,
        torque_threshold_nm=15.0,
        force_threshold_n=25.0,
        load_mass_kg=0.3,
        load_centre_m=(0.0, 0.0, 0.05),
        load_inertia_kg_m2=inertia,
        guiding_axes=("x", "y", "z", "yaw"),
    )
    with FrankaArm(config):
        report = robot.report()
    assert report.thresholds == [15.0] * 28 + [25.0] * 24
    assert report.free_axes == [True, True, True, False, False, True, False]
    assert report.load == pytest.approx([0.3, 0.0, 0.0, 0.05, *inertia])


def test_an_arm_that_is_guided_by_hand_tells_where_it_is(robot: FciEmulator, arm: FrankaArm) -> None:
    robot.set_mode("GUIDING")
    before = arm.read()
    robot.guide((0.3, *before.joints_rad[1:]))
    until(lambda: arm.read().joints_rad[0] == pytest.approx(0.3), "the guided joints")
    assert arm.read().robot_mode == "Guiding"
    assert arm.read().T_base_tcp == pytest.approx(arm.tcp_pose(arm.read().joints_rad), abs=1e-4)
    robot.set_mode("IDLE")


def test_the_limits_are_those_of_the_fr3_and_not_the_wheels_own(arm: FrankaArm) -> None:
    robot = arm._robot
    assert robot.translation_acceleration_limit.get() == 9.0
    assert robot.translation_jerk_limit.get() == 4500.0
    assert list(robot.joint_acceleration_limit.get()) == [10.0, 7.5, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_a_straight_motion_arrives_and_can_be_waited_for(arm: FrankaArm) -> None:
    T_goal = arm.read().T_base_tcp.copy()
    T_goal[2, 3] -= 0.02
    arm.start_cartesian_motion(T_goal, 0.2)
    assert arm.wait(PATIENCE_S).T_base_tcp == pytest.approx(T_goal, abs=1e-4)


def test_waiting_ends_with_the_motions_error(robot: FciEmulator, arm: FrankaArm) -> None:
    T_goal = arm.read().T_base_tcp.copy()
    T_goal[2, 3] -= 0.1
    arm.start_cartesian_motion(T_goal, 0.05)
    until(lambda: robot.report().moving, "the motion")
    robot.push(45.0)
    with pytest.raises(RobotError, match="cartesian_reflex"):
        arm.wait(PATIENCE_S)


def test_a_robot_that_another_program_controls_is_named(robot: FciEmulator, arm: FrankaArm) -> None:
    with pytest.raises(RobotError, match="end any other program that controls the robot"):
        FrankaArm(FrankaConfig(host=robot.address, realtime=False))


def test_a_closed_connection_leaves_the_robot_to_the_next_program(robot: FciEmulator) -> None:
    config = FrankaConfig(host=robot.address, realtime=False)
    with FrankaArm(config) as first:
        first.read()
    with FrankaArm(config) as second:
        assert second.read().robot_mode == "Idle"
    with pytest.raises(RobotError, match="lost"):
        first.read()


@pytest.mark.parametrize("version", [5, 9])
def test_another_robot_is_named_as_such(fci_address: str, version: int) -> None:
    with FciEmulator(fci_address, version=version), pytest.raises(RobotError, match=r"Panda .*server") as error:
        FrankaArm(FrankaConfig(host=fci_address, realtime=False))
    assert f"server version: {version}" in str(error.value)


def test_no_gripper_and_another_gripper_are_named(fci_address: str) -> None:
    config = FrankaGripperConfig(host=fci_address)
    with FciEmulator(fci_address, has_gripper=False), pytest.raises(RobotError, match="the hand is mounted"):
        FrankaGripper(config)
    with FciEmulator(fci_address, gripper_version=2), pytest.raises(RobotError, match="server version: 2"):
        FrankaGripper(config)


def test_lost_packets_lower_the_success_rate(robot: FciEmulator, arm: FrankaArm) -> None:
    robot.set_network(packet_loss=0.3)
    start_moving(arm)

    def rate() -> float:
        arm.send_twist(FORWARD)
        time.sleep(0.02)
        return arm.read().command_success_rate

    until(lambda: rate() < 0.9, "a rate that counts what was lost")


def test_late_packets_end_in_a_reflex_by_name(robot: FciEmulator, arm: FrankaArm) -> None:
    start_moving(arm)
    robot.set_network(delay_s=0.005)
    assert "communication_constraints_violation" in until_it_raises(arm)


def test_a_robot_whose_fci_is_switched_off_is_lost_and_refuses_until_it_is_on_again(
    robot: FciEmulator, arm: FrankaArm
) -> None:
    start_moving(arm)
    robot.set_network(off=True)
    assert "lost" in until_it_raises(arm)
    with pytest.raises(RobotError, match="activate FCI"):
        arm.recover()
    robot.set_network(off=False)
    until(lambda: recovers(arm), "a new connection")
    assert arm.read().robot_mode == "Idle"


def recovers(arm: FrankaArm) -> bool:
    try:
        arm.recover()
    except RobotError:
        return False
    return True


def gripper_until(gripper: FrankaGripper, condition: Callable[[GripperReading], bool]) -> GripperReading:
    until(lambda: condition(gripper.read()), f"the gripper, now {gripper.read()}")
    return gripper.read()


@pytest.fixture
def gripper(robot: FciEmulator) -> Iterator[FrankaGripper]:
    gripper = FrankaGripper(FrankaGripperConfig(host=robot.address, timeout_s=2.0))
    yield gripper
    gripper.close()


def test_an_object_is_held_until_it_slips_out(robot: FciEmulator, gripper: FrankaGripper) -> None:
    robot.set_gripper(object_m=0.04)
    gripper.request(False)
    reading = gripper_until(gripper, lambda r: r.holds_object)
    assert reading.width_m == pytest.approx(0.04)
    robot.set_gripper(object_m=None)
    assert gripper_until(gripper, lambda r: not r.holds_object).goal_open is False


def test_a_gripper_call_that_never_returns_is_a_fault_and_recovery_connects_again(
    robot: FciEmulator, gripper: FrankaGripper
) -> None:
    robot.set_gripper(hangs=True)
    gripper.request(False)
    assert "did not finish to grasp within 2 s" in gripper_until(gripper, lambda r: bool(r.fault)).fault
    robot.set_gripper(hangs=False)
    gripper_until(gripper, lambda r: not r.fault)


def test_a_gripper_whose_server_dies_is_named_and_recovery_finds_the_new_one(
    robot: FciEmulator, gripper: FrankaGripper
) -> None:
    robot.set_gripper(dead=True)
    assert "its server died" in gripper_until(gripper, lambda r: bool(r.fault)).fault
    robot.set_gripper(dead=False)

    def is_back() -> bool:
        with suppress(RobotError):
            gripper.recover()
        return not gripper.read().fault

    until(is_back, "the gripper's new server")


def test_a_gripper_that_refuses_is_a_fault_until_recovery(robot: FciEmulator, gripper: FrankaGripper) -> None:
    robot.set_gripper(fails=True)
    gripper.request(False)
    assert "failed to grasp" in gripper_until(gripper, lambda r: bool(r.fault)).fault
    gripper.recover()
    assert gripper.read().fault == ""


def test_a_gripper_that_is_not_homed_is_named_and_homing_ends_that(robot: FciEmulator, gripper: FrankaGripper) -> None:
    robot.set_gripper(max_width_m=0.0)
    assert "clar gripper home" in gripper_until(gripper, lambda r: bool(r.fault)).fault
    gripper.home()
    homed = gripper_until(gripper, lambda r: not r.busy and not r.fault)
    assert homed.max_width_m == pytest.approx(0.08)
