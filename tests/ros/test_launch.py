"""policy.launch.py says what is missing before anything starts, and ends with an error."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from clar_core.cell_config import load_cell
from tests.ros.checkpoint import write_checkpoint

REPOSITORY = Path(__file__).parents[2]
SIM_CELL = REPOSITORY / "calibration" / "cells" / "sim" / "cell.yaml"


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ros2", "launch", "clar", "policy.launch.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cell: required with hardware:=real"),
        (("cell:=none.yaml",), "none.yaml: no such file; write one with `clar cell init"),
        (("cell:=boxless.yaml",), "motion_box: required"),
        (("cell:=uncalibrated.yaml",), "no such calibration file; calibrate the camera again"),
        ((f"cell:={SIM_CELL}",), "checkpoint: required with hardware:=real"),
        ((f"cell:={SIM_CELL}", "auto_arm:=true"), "auto_arm: refused with hardware:=real"),
        (("hardware:=sim", "checkpoint:=none"), "none/config.json: cannot be read"),
        (("hardware:=sim", "task:=place_the_moon"), "none is shipped for task 'place_the_moon'"),
        (("hardware:=sim", "checkpoint:=policy", "seed:=many"), "seed: expected a whole number, got 'many'"),
        (("hardware:=toy",), "hardware"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    write_checkpoint(tmp_path / "policy")
    cell = SIM_CELL.read_text()
    (tmp_path / "uncalibrated.yaml").write_text(cell)
    (tmp_path / "boxless.yaml").write_text("robot_ip: 192.168.1.11\n")
    result = launch(tmp_path, *arguments)
    printed = result.stdout + result.stderr
    assert result.returncode != 0, printed
    assert message in printed
    assert "process started" not in printed


def test_every_argument_is_described() -> None:
    result = launch(REPOSITORY, "--show-args")
    assert result.returncode == 0, result.stderr
    for argument in ("hardware", "cell", "checkpoint", "instruction", "device", "camera", "record", "robot_ip"):
        assert f"'{argument}':" in result.stdout
    assert "no description given" not in result.stdout


def test_each_choice_of_camera_starts_its_driver_and_nothing_else() -> None:
    specification = importlib.util.spec_from_file_location("policy_launch", REPOSITORY / "launch" / "policy.launch.py")
    assert specification is not None
    assert specification.loader is not None
    launch_file = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(launch_file)
    cell, share = load_cell(SIM_CELL), REPOSITORY / "ros2_ws" / "src" / "clar"
    counts = {
        choice: len(launch_file.camera({"hardware": "real", "camera": choice}, share, cell, "172.16.0.2"))
        for choice in ("builtin", "realsense_ros", "external")
    }
    assert counts == {"builtin": 1, "realsense_ros": 1, "external": 0}
