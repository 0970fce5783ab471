"""The hand's driver against an unmodified franky and a simulated hand."""

import time
from collections.abc import Callable, Iterator

import pytest

from clar.drivers.franka_gripper import FrankaGripper, FrankaGripperConfig
from clar_core.control.robot import GripperReading, RobotError
from tests.simulated_robot import SimulatedRobot

PATIENCE_S = 60.0


@pytest.fixture
def gripper(robot: SimulatedRobot) -> Iterator[FrankaGripper]:
    gripper = FrankaGripper(FrankaGripperConfig(host=robot.address, timeout_s=PATIENCE_S))
    yield gripper
    gripper.close()


def until(gripper: FrankaGripper, condition: Callable[[GripperReading], bool], what: str) -> GripperReading:
    end_s = time.monotonic() + PATIENCE_S
    while not condition(gripper.read()):
        assert time.monotonic() < end_s, f"{what}: {gripper.read()}"
        time.sleep(0.01)
    return gripper.read()


def test_a_request_returns_at_once_and_the_fingers_follow(gripper: FrankaGripper) -> None:
    start_s = time.monotonic()
    gripper.request(True)
    assert time.monotonic() - start_s < 0.5
    assert gripper.read().busy
    reading = until(gripper, lambda r: not r.busy, "never opened")
    assert reading.width_m == pytest.approx(0.08, abs=0.005)
    assert reading.is_open
    assert reading.fault == ""


def test_closing_on_nothing_is_no_fault_and_holds_nothing(gripper: FrankaGripper) -> None:
    gripper.request(False)
    reading = until(gripper, lambda r: not r.busy, "never closed")
    assert reading.fault == ""
    assert not reading.is_open
    assert not reading.holds_object


def test_the_last_of_several_requests_wins(gripper: FrankaGripper) -> None:
    for is_open in (False, True, False, True):
        gripper.request(is_open)
    reading = until(gripper, lambda r: not r.busy, "never finished")
    assert reading.goal_open is True
    assert until(gripper, lambda r: r.width_m > 0.07, "never opened").is_open


def test_a_gripper_that_is_not_homed_is_a_fault_by_name(robot: SimulatedRobot) -> None:
    gripper = FrankaGripper(FrankaGripperConfig(host=robot.address, max_width_m=0.2))
    assert "not homed" in gripper.read().fault
    gripper.close()


def test_no_gripper_at_the_address_is_named(fci_address: str) -> None:
    with pytest.raises(RobotError, match=f"no gripper at {fci_address}"):
        FrankaGripper(FrankaGripperConfig(host=fci_address))


def test_a_request_that_hangs_is_a_fault_by_name_until_it_returns(fci_address: str) -> None:
    with SimulatedRobot(fci_address) as robot:
        gripper = FrankaGripper(FrankaGripperConfig(host=fci_address, timeout_s=0.3))
        gripper.request(True)
        robot.freeze()
        reading = until(gripper, lambda r: bool(r.fault), "a hanging gripper went unnoticed")
        assert "clar recover" in reading.fault
        robot.thaw()
        until(gripper, lambda r: not r.fault, "the fault stayed")
        gripper.close()


def test_a_dead_server_is_a_fault_by_name_and_recovery_connects_to_a_new_one(fci_address: str) -> None:
    with SimulatedRobot(fci_address):
        gripper = FrankaGripper(FrankaGripperConfig(host=fci_address))
    assert "clar recover" in until(gripper, lambda r: bool(r.fault), "a dead server went unnoticed").fault
    with SimulatedRobot(fci_address):
        gripper.recover()
        assert gripper.read().fault == ""
        gripper.close()
