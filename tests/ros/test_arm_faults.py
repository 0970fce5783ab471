"""The arm node in front of a robot that fails on request: every fault halts by name, and nothing resumes by itself."""

from collections.abc import Callable, Iterator

import pytest

from clar import names
from clar_interfaces.msg import RobotState
from tests.hardware.fci_emulator import FciEmulator
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.arm_rig import ArmRig, arm_rig
from tests.ros.processes import Probe, wait_for

DISARMED, ARMED, RUNNING, HALTED = range(4)
STAY = (0.0,) * 6
_REST_STATES = 60


@pytest.fixture(scope="module")
def shared(ros_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmRig]:
    probe = Probe()
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        arm_rig(probe, tmp_path_factory.mktemp("cell"), address, make_robot=FciEmulator, silence_halt_s=5.0) as rig,
    ):
        yield rig
    probe.close()


@pytest.fixture
def rig(shared: ArmRig) -> Iterator[ArmRig]:
    yield shared
    shared.trigger(names.SERVICE_DISARM)
    # A motion that was just asked for is not seen yet, and must not be cut off by setting the mode.
    wait_for(lambda: _at_rest(shared.states[-_REST_STATES:]), "the end of the motion")
    shared.robot.set_mode("IDLE")
    shared.robot.set_success_rate(1.0)
    shared.robot.set_gripper(hangs=False, fails=False, max_width_m=0.08, object_m=None)
    wait_for(lambda: shared.trigger(names.SERVICE_RECOVER).success, "recovery after the test")


def _at_rest(states: list[RobotState]) -> bool:
    return len(states) == _REST_STATES and all(s.mode != RUNNING and s.robot_mode != "Move" for s in states)


def run(rig: ArmRig) -> FciEmulator:
    """RUNNING, with a motion under way."""
    rig.start()
    wait_for(lambda: rig.drive(STAY, 1) or rig.state.robot_mode == "Move", "the motion")
    return rig.robot


def halted(rig: ArmRig) -> RobotState:
    """The state once it is HALTED, and that it stays so."""
    state = rig.wait_for_mode(HALTED)
    rig.drive((0.01, 0, 0, 0, 0, 0), 3)
    assert rig.state.mode == HALTED
    return state


def test_a_reflex_halts_by_name_until_the_operator_recovers(rig: ArmRig) -> None:
    run(rig).fail("cartesian_reflex")
    assert "cartesian_reflex" in halted(rig).reason
    wait_for(lambda: list(rig.state.errors) == ["cartesian_reflex"], "the error in the state")
    assert "clar recover" in rig.trigger(names.SERVICE_ARM).message
    assert rig.trigger(names.SERVICE_RECOVER).success
    rig.wait_for_mode(DISARMED)
    assert list(rig.state.errors) == []
    rig.start()


def test_a_low_success_rate_halts_with_the_likely_causes(rig: ArmRig) -> None:
    robot = run(rig)
    rig.drive(STAY, 6)
    robot.set_success_rate(0.8)
    rig.drive(STAY, 3)
    assert "80% of the control commands" in halted(rig).reason
    assert "real-time kernel" in rig.state.reason


def test_the_user_stop_halts_and_recovery_waits_for_its_release(rig: ArmRig) -> None:
    run(rig).press_user_stop()
    halted(rig)
    wait_for(lambda: rig.state.robot_mode == "UserStopped", "the mode in the state")
    refused = rig.trigger(names.SERVICE_RECOVER)
    assert not refused.success
    assert "release the user stop" in refused.message
    rig.robot.set_mode("IDLE")
    assert rig.trigger(names.SERVICE_RECOVER).success


@pytest.mark.parametrize(
    ("mode", "step"),
    [("USER_STOPPED", "release the user stop"), ("GUIDING", "guiding"), ("OTHER", "unlock the brakes")],
)
def test_arming_is_refused_and_names_the_step_on_the_desk(rig: ArmRig, mode: str, step: str) -> None:
    rig.robot.set_mode(mode)
    wait_for(lambda: rig.state.robot_mode not in ("Idle", "Move"), "the robot's mode")
    refused = rig.trigger(names.SERVICE_ARM)
    assert not refused.success
    assert step in refused.message


def lose_object(rig: ArmRig) -> None:
    rig.robot.set_gripper(object_m=0.04)
    run(rig)
    rig.drive(STAY, 8, gripper=0.0)
    wait_for(lambda: rig.state.gripper_width < 0.045, "the grasp")
    rig.drive(STAY, 4, gripper=0.0)
    rig.robot.set_gripper(object_m=None)


def hang(rig: ArmRig) -> None:
    run(rig)
    rig.robot.set_gripper(fails=True)
    rig.drive(STAY, 5, gripper=0.0)


@pytest.mark.parametrize(
    ("provoke", "reason"), [(lose_object, "the grasped object was lost"), (hang, "failed to grasp")]
)
def test_a_fault_of_the_gripper_halts_by_name(rig: ArmRig, provoke: Callable[[ArmRig], None], reason: str) -> None:
    provoke(rig)
    assert reason in halted(rig).reason


def test_a_gripper_that_is_not_homed_refuses_to_arm(rig: ArmRig) -> None:
    rig.robot.set_gripper(max_width_m=0.0)

    def is_refused() -> bool:
        rig.trigger(names.SERVICE_DISARM)
        return "not homed" in rig.trigger(names.SERVICE_ARM).message

    wait_for(is_refused, "the refusal")
    assert rig.state.mode in (DISARMED, HALTED)
