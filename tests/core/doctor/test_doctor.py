"""The doctor's findings, on whatever machine this is."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from clar_core.cell_config import template
from clar_core.cli import doctor
from clar_core.doctor import machine, robot, software
from clar_core.doctor.finding import Finding, Level, examine, ok, report, warn


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_check_that_breaks_stops_no_other() -> None:
    def broken() -> list[Finding]:
        raise ZeroDivisionError("oh")

    findings = examine([("first", broken), ("second", lambda: [ok("second", "fine")])])
    assert [finding.level for finding in findings] == [Level.SKIP, Level.OK]
    assert "ZeroDivisionError: oh" in findings[0].found


def test_the_report_puts_each_remedy_below_its_finding() -> None:
    lines = report([ok("disk", "plenty"), warn("clock", "not synchronised", "install chrony")]).splitlines()
    assert lines[0].startswith("  ok  disk")
    assert lines[2].strip() == "-> install chrony"


@pytest.mark.parametrize(("content", "level"), [("1\n", Level.OK), ("0\n", Level.FAIL), (None, Level.FAIL)])
def test_a_kernel_without_real_time_is_named(tmp_path: Path, content: str | None, level: Level) -> None:
    path = tmp_path / "realtime"
    if content is not None:
        path.write_text(content)
    finding = machine.realtime(path)[0]
    assert finding.level is level
    assert bool(finding.fix) == (level is Level.FAIL)


def test_little_disk_is_a_finding_even_where_the_folder_is_yet_to_be_made(tmp_path: Path) -> None:
    finding = machine.storage(tmp_path / "a" / "b", needed_gib=1e9)[0]
    assert finding.level is Level.WARN
    assert str(tmp_path) in finding.found


def test_a_power_saving_governor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "governor"
    path.write_text("powersave\n")
    assert by_name(machine.processor(path))["frequency governor"].level is Level.WARN


def test_dds_settings_are_judged_from_the_environment(tmp_path: Path) -> None:
    profile = tmp_path / "fastdds.xml"
    profile.write_text("")
    bad = by_name(software.dds({}))
    assert bad["DDS profile"].level is Level.FAIL
    assert bad["DDS discovery"].level is Level.WARN
    good = software.dds({"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"})
    assert {finding.level for finding in good} == {Level.OK}


def test_a_robot_that_is_not_there_is_named_with_the_next_step(fci_address: str) -> None:
    finding = robot.reach(fci_address)[0]
    assert finding.level is Level.FAIL
    assert "activate FCI" in finding.fix


def test_a_server_that_hangs_up_in_the_handshake_is_named(fci_address: str) -> None:
    with socket.create_server((fci_address, robot.ROBOT_PORT)) as listener:

        def hang_up() -> None:
            client, _ = listener.accept()
            client.recv(100)
            client.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        assert "closed the connection" in robot.reach(fci_address)[0].found
        thread.join(5.0)


def test_it_works_without_any_of_the_hardware_and_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, fci_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "graphics", list)  # importing torch takes seconds
    (tmp_path / "cell.yaml").write_text(template())
    status = doctor.main(["--cell", str(tmp_path / "cell.yaml"), "--robot-ip", fci_address, "--json"])
    findings = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert status == 1
    assert "motion_box" in findings["cell.yaml"]["found"]
    assert findings["robot"]["level"] == "fail"
    assert findings["calibration"]["level"] == "skip"
    assert all(entry["fix"] for entry in findings.values() if entry["level"] in ("warn", "fail"))
