"""Faults of the robot and its hand: every one halts by name, and nothing resumes by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from clar import names
from tests.faults.contract import Entry
from tests.faults.rig import ARMED, DISARMED, HALTED, START, STAY, FaultRig, fault_rig
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.processes import Probe, wait_for

NEAR_JOINT_LIMIT = (0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 2.99)
OUTSIDE_THE_BOX = (1.2, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785)
STRETCHED = (0.0, 0.7, 0.0, -0.46, 0.0, 1.2, 0.785)


@pytest.fixture(scope="module")
def shared(ros_domain: int, tmp_path_factory: pytest.TempPathFactory, faults: list[Entry]) -> Iterator[FaultRig]:
    probe = Probe()
    folder = tmp_path_factory.mktemp("cell")
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        fault_rig(probe, folder, address, faults, silence_halt_s=5.0) as rig,
    ):
        yield rig
    probe.close()


@pytest.fixture
def rig(shared: FaultRig) -> Iterator[FaultRig]:
    yield shared
    shared.restore()


@pytest.mark.parametrize("error", ["cartesian_reflex", "joint_reflex", "joint_position_limits_violation"])
def test_a_reflex_halts_by_name_until_the_operator_recovers(rig: FaultRig, error: str) -> None:
    stop = rig.run().time_to_rest(lambda: rig.robot.fail(error))
    state = rig.halted(error)
    assert "success_rate" in state.reason
    wait_for(lambda: list(rig.state.errors) == [error], "the error in the state")
    assert "clar recover" in rig.arm.trigger(names.SERVICE_ARM).message
    rig.enter(13, f"the robot reports {error}", stop, within_s=0.4)
    assert rig.arm.trigger(names.SERVICE_RECOVER).success
    rig.arm.wait_for_mode(DISARMED)
    assert list(rig.state.errors) == []
    assert rig.arm.trigger(names.SERVICE_ARM).success


def test_a_push_beyond_the_force_threshold_is_a_collision_and_a_lighter_one_is_none(rig: FaultRig) -> None:
    rig.run()
    rig.robot.push(20.0)
    rig.drive_until(lambda: True)
    assert rig.state.mode != HALTED
    stop = rig.time_to_rest(lambda: rig.robot.push(45.0))
    rig.halted("cartesian_reflex")
    rig.enter(13, "a push of 45 N on the hand, 30 N allowed", stop, within_s=0.4)


def test_lost_packets_halt_by_the_success_rate_with_the_likely_causes(rig: FaultRig) -> None:
    rig.run()
    rig.arm.drive(STAY, 6)
    rig.drive_until(lambda: rig.robot.report().still_since_ns == 0)
    step = rig.step()
    stop = rig.time_to_rest(lambda: rig.robot.set_network(packet_loss=0.25), lambda: rig.arm.drive(step, 1))
    assert "real-time kernel" in rig.halted("of the control commands").reason
    rig.enter(14, "25 % of the control packets lost", stop)


def test_a_delayed_network_ends_in_a_reflex_by_name(rig: FaultRig) -> None:
    rig.run()
    stop = rig.time_to_rest(lambda: rig.robot.set_network(delay_s=0.005))
    rig.arm.wait_for_mode(HALTED)
    assert "communication_constraints_violation" in rig.state.reason or "of the control commands" in rig.state.reason
    rig.enter(14, "control packets 5 ms late", stop, within_s=0.4)


def test_the_user_stop_halts_and_recovery_waits_for_its_release(rig: FaultRig) -> None:
    stop = rig.run().time_to_rest(rig.robot.press_user_stop)
    rig.arm.wait_for_mode(HALTED)
    wait_for(lambda: rig.state.robot_mode == "UserStopped", "the mode in the state")
    assert "release the user stop" in rig.state.reason
    refused = rig.arm.trigger(names.SERVICE_RECOVER)
    assert not refused.success
    assert "release the user stop" in refused.message
    rig.enter(15, "user stop pressed in motion", stop, within_s=0.4)
    rig.robot.set_mode("IDLE")
    assert rig.arm.trigger(names.SERVICE_RECOVER).success


@pytest.mark.parametrize(
    ("mode", "step"),
    [("USER_STOPPED", "release the user stop"), ("GUIDING", "guiding"), ("OTHER", "unlock the brakes")],
)
def test_arming_is_refused_and_names_the_step_on_the_desk(rig: FaultRig, mode: str, step: str) -> None:
    rig.robot.set_mode(mode)
    wait_for(lambda: rig.state.robot_mode not in ("Idle", "Move"), "the robot's mode")
    refused = rig.arm.trigger(names.SERVICE_ARM)
    assert not refused.success
    assert step in refused.message
    rig.enter(15, f"arming in robot mode {mode}", response=refused.message)


@pytest.mark.parametrize(("mode", "how"), [("GUIDING", "guiding button pressed"), ("OTHER", "brakes closed")])
def test_a_mode_that_changes_in_motion_halts(rig: FaultRig, mode: str, how: str) -> None:
    stop = rig.run().time_to_rest(lambda: rig.robot.set_mode(mode))
    rig.arm.wait_for_mode(HALTED)
    rig.enter(15, f"{how} in motion", stop, within_s=0.4)


def test_losing_the_connection_in_motion_halts_and_recovery_connects_again(rig: FaultRig) -> None:
    stop = rig.run().time_to_rest(lambda: rig.robot.set_network(off=True))
    rig.arm.wait_for_mode(HALTED)
    wait_for(lambda: rig.state.robot_mode == "Disconnected", "the lost connection in the state")
    refused = rig.arm.trigger(names.SERVICE_RECOVER)
    assert not refused.success
    assert "FCI" in refused.message
    rig.enter(15, "FCI switched off in motion", stop, within_s=0.4)
    rig.robot.set_network(off=False)
    wait_for(lambda: rig.arm.trigger(names.SERVICE_RECOVER).success, "a new connection")


def lose_object(rig: FaultRig) -> None:
    rig.robot.set_gripper(object_m=None)


def hang(rig: FaultRig) -> None:
    rig.robot.set_gripper(hangs=True)


def refuse(rig: FaultRig) -> None:
    rig.robot.set_gripper(fails=True)


def die(rig: FaultRig) -> None:
    rig.robot.set_gripper(dead=True)


@pytest.mark.parametrize(
    ("provoke", "closed", "reason", "how"),
    [
        (lose_object, True, "the grasped object was lost", "the object slips out"),
        (refuse, False, "failed to grasp", "the gripper refuses to grasp"),
        (die, True, "its server died", "the gripper's server dies"),
    ],
)
def test_a_fault_of_the_gripper_halts_by_name(
    rig: FaultRig, provoke: Callable[[FaultRig], None], closed: bool, reason: str, how: str
) -> None:
    rig.robot.set_gripper(object_m=0.04)
    rig.run()
    if closed:
        rig.drive_until(lambda: rig.robot.report().holds, gripper=0.0)
        rig.drive_until(lambda: rig.state.gripper_width < 0.045, gripper=0.0)
    rig.drive_until(lambda: rig.robot.report().still_since_ns == 0, gripper=0.0 if closed else 1.0)
    step = rig.step()
    stop = rig.time_to_rest(lambda: provoke(rig), lambda: rig.arm.drive(step, 1, gripper=0.0))
    assert reason in rig.arm.wait_for_mode(HALTED).reason
    rig.enter(20, how, stop)


def test_a_gripper_that_is_not_homed_refuses_to_arm_and_is_homed_by_request(rig: FaultRig) -> None:
    rig.robot.set_gripper(max_width_m=0.0)

    wait_for(lambda: "not homed" in rig.refusal(), "the refusal")
    assert rig.state.mode in (DISARMED, HALTED)
    rig.enter(20, "arming with a gripper that is not homed", response=rig.refusal())
    homed = rig.arm.trigger(names.SERVICE_HOME_GRIPPER)
    assert homed.success, homed.message
    rig.arm.trigger(names.SERVICE_DISARM)
    wait_for(lambda: rig.arm.trigger(names.SERVICE_ARM).success, "arming after homing")


@pytest.mark.parametrize(
    ("joints", "text", "how"),
    [
        (OUTSIDE_THE_BOX, "outside motion_box: guide it by hand", "outside motion_box"),
        (NEAR_JOINT_LIMIT, "joint 7 is at", "1.5 degrees from the end of joint 7"),
        (STRETCHED, "near a singularity", "with the arm stretched out"),
    ],
)
def test_arming_in_a_bad_place_is_refused_with_where_to_guide_the_arm(
    rig: FaultRig, joints: tuple[float, ...], text: str, how: str
) -> None:
    rig.robot.guide(joints)
    wait_for(lambda: text in rig.refusal(), f"{text!r} in the refusal")
    rig.enter(3, f"arming {how}", response=rig.refusal())


def test_near_a_joint_limit_the_arm_halts_by_name(rig: FaultRig) -> None:
    rig.robot.guide((*START[:6], 2.85))
    wait_for(lambda: "cannot arm" not in rig.refusal() and rig.state.mode == ARMED, "arming")
    rig.arm.start()
    turn = (0.0, 0.0, 0.0, 0.0, 0.0, -0.03)
    wait_for(lambda: rig.arm.drive(turn, 1) or rig.state.mode == HALTED, "the halt")
    assert "joint 7 came within" in rig.state.reason
    wait_for(lambda: rig.robot.report().still_since_ns, "the arm at rest")
    rig.enter(4, "turning joint 7 into its limit; from HALTED", rig.time_from_halt(), within_s=0.4)


def test_the_gripper_keeps_its_grip_through_stop_disarm_and_halt(rig: FaultRig) -> None:
    rig.robot.set_gripper(object_m=0.04)
    rig.run()
    rig.drive_until(lambda: rig.robot.report().holds, gripper=0.0)
    for end in (names.SERVICE_STOP, names.SERVICE_DISARM):
        rig.arm.trigger(end)
        assert rig.robot.report().holds
    rig.run()
    rig.robot.fail("cartesian_reflex")
    rig.halted("cartesian_reflex")
    assert rig.robot.report().holds
    rig.enter(19, "STOP, DISARM and a reflex with an object in the hand", response="the object is still held")
    assert rig.arm.trigger(names.SERVICE_RECOVER).success
    assert rig.robot.report().holds
    assert rig.arm.trigger(names.SERVICE_OPEN_GRIPPER).success
    assert not rig.robot.report().holds


def test_stop_ramps_to_zero_and_the_way_back_to_the_start_is_explicit(rig: FaultRig) -> None:
    rig.arm.start()
    start_x = rig.arm.pose[0, 3]
    rig.drive_until(lambda: abs(rig.arm.pose[0, 3] - start_x) > 0.015)
    rig.drive_until(lambda: rig.robot.report().still_since_ns == 0)
    stop = rig.time_to_rest(lambda: rig.arm.trigger(names.SERVICE_STOP))
    assert rig.arm.wait_for_mode(ARMED).reason == "stopped by the operator"
    rig.enter(21, "STOP in motion", stop, within_s=0.4)
    back = rig.arm.trigger(names.SERVICE_RETURN)
    assert back.success, back.message
    assert rig.arm.pose[0, 3] == pytest.approx(start_x, abs=2e-3)
    assert rig.state.mode == ARMED
