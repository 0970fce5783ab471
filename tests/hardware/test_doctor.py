"""The doctor in front of a robot and cameras that can be good or bad."""

from __future__ import annotations

import pytest

from clar_core.doctor.camera import cameras
from clar_core.doctor.finding import Finding, Level
from clar_core.doctor.robot import reach
from tests.hardware.fci_emulator import FciEmulator
from tests.hardware.software_d455 import Bus, SoftwareD455


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_robot_tells_its_versions_and_how_its_states_arrive(fci_address: str) -> None:
    with FciEmulator(fci_address) as emulator:
        findings = by_name(reach(fci_address))
        assert findings["robot"].found == "FR3, server version 10, FCI active"
        assert findings["gripper"].found == "server version 3"
        assert findings["robot network"].level in (Level.OK, Level.WARN)
        assert " states in a second" in findings["robot network"].found
        emulator.set_mode("USER_STOPPED")
        assert "release the user stop" in by_name(reach(fci_address))["robot mode"].fix


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({"version": 5}, "robot", "a Franka Emika Panda"),
        ({"version": 9}, "robot", "server version 9, expected 10"),
        ({"gripper_version": 2}, "gripper", "server version 2, expected 3"),
        ({"has_gripper": False}, "gripper", "no gripper server"),
    ],
)
def test_another_robot_or_no_gripper_is_named(fci_address: str, options: dict[str, int], name: str, text: str) -> None:
    with FciEmulator(fci_address, **options):  # type: ignore[arg-type]
        finding = by_name(reach(fci_address))[name]
    assert finding.level is Level.FAIL
    assert text in finding.found
    assert finding.fix


def test_cameras_are_told_with_speed_and_firmware() -> None:
    slow, good = SoftwareD455("1", usb="2.1"), SoftwareD455("2")
    findings = by_name(cameras("", Bus(slow, good).make_context))
    assert findings["camera 1"].level is Level.FAIL
    assert "USB 3 port" in findings["camera 1"].fix
    assert findings["camera 2"].found == "Intel RealSense D455, USB 3.2, firmware 5.16.0.1"
    assert "none is named" in findings["camera of the cell"].found
    assert "3 is not connected" in by_name(cameras("3", Bus(good).make_context))["camera of the cell"].found
    assert cameras("2", Bus(good).make_context)[0].level is Level.OK
