"""``clar doctor``: what has to be right before a run, with the remedy beside each finding."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Doctor:
    """Check this machine, the robot, the camera and the cell file before a run. Nothing moves."""

    cell: Path | None = None
    """The cell file; it names robot, camera and calibration."""
    robot_ip: str = ""
    """Address of the robot; the cell file's when left out."""
    recordings: Path = Path("outputs")
    """Where recordings will go."""
    calibration_max_age_days: float = 30.0
    """An older calibration is a finding."""
    json: bool = False
    """Print JSON instead of text."""


def main(arguments: list[str]) -> int:
    """Print every finding; 1 when one of them stands against a run on the robot."""
    options = tyro.cli(Doctor, prog="clar doctor", args=arguments)
    from clar_core.doctor import camera, machine, robot, software
    from clar_core.doctor.cell import calibration, cell_file
    from clar_core.doctor.finding import Level, examine, report

    cell, findings = cell_file(options.cell)
    host = options.robot_ip or (cell.robot_ip if cell else "")
    findings += examine(
        (
            ("real-time kernel", machine.realtime),
            ("processor", machine.processor),
            ("clock", machine.clock),
            ("disk", lambda: machine.storage(options.recordings)),
            ("GPU", machine.graphics),
            ("workspace", software.workspace),
            ("versions", software.versions),
            ("DDS", software.dds),
            ("route to the robot", lambda: robot.own_address(host)),
            ("robot", lambda: robot.reach(host)),
            ("camera", lambda: camera.cameras(cell.camera.serial if cell else "")),
            ("calibration", lambda: calibration(cell, options.calibration_max_age_days)),
        )
    )
    if options.json:
        print(json.dumps([asdict(finding) | {"level": finding.level.name.lower()} for finding in findings], indent=2))
    else:
        print(report(findings))
    count = {level: sum(finding.level is level for finding in findings) for level in Level}
    if not options.json:
        print(f"\n{count[Level.FAIL]} against a run on the robot, {count[Level.WARN]} to look at")
    return 1 if count[Level.FAIL] else 0
