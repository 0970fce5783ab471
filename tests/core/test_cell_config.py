from pathlib import Path

import numpy as np
import pytest

from clar_core.cell_config import CellConfigError, load_cell, template, write_template

MINIMAL = "robot_ip: 172.16.0.2\nmotion_box:\n  min_m: [0.2, -0.4, 0.0]\n  max_m: [0.8, 0.4, 0.6]\n"


def cell(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cell.yaml"
    path.write_text(text)
    return path


def test_address_and_motion_box_are_all_that_is_required(tmp_path: Path) -> None:
    config = load_cell(cell(tmp_path, MINIMAL))
    assert config.robot_ip == "172.16.0.2"
    assert config.motion_box.max_m == (0.8, 0.4, 0.6)
    assert config.gripper.max_width_m == 0.08
    assert config.flange_T_tcp[2, 3] == pytest.approx(0.1034)
    assert config.flange_T_tcp[:3, :3] @ config.flange_T_tcp[:3, :3].T == pytest.approx(np.eye(3), abs=1e-7)
    assert config.calibration_path == tmp_path / "calibration.yaml"


def test_the_template_names_every_field_and_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    path = write_template(tmp_path / "cells" / "mine.yaml")
    with pytest.raises(CellConfigError) as refusal:
        load_cell(path)
    for name in ("robot_ip", "motion_box.min_m", "motion_box.max_m"):
        assert f"{name}: required" in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_the_template_loads_once_it_is_filled_in(tmp_path: Path) -> None:
    text = template()
    for name, value in (("robot_ip", "172.16.0.2"), ("min_m", "[0.2, -0.4, 0.0]"), ("max_m", "[0.8, 0.4, 0.6]")):
        text = text.replace(f"{name}:  #", f"{name}: {value}  #")
    filled, minimal = load_cell(cell(tmp_path, text)), load_cell(cell(tmp_path, MINIMAL))
    assert filled == minimal


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = cell(tmp_path, MINIMAL)
    with pytest.raises(CellConfigError, match="exists already"):
        write_template(path)
    assert path.read_text() == MINIMAL


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("motion_bx: 3\n", "motion_bx: unknown field, did you mean motion_box?"),
        ("gripper: {forze_n: 3}\n", "gripper.forze_n: unknown field, did you mean gripper.force_n?"),
        ("gripper: {force_n: 300}\n", "gripper.force_n: 300 is out of bounds, expected 1 to 70"),
        ("gripper: {force_n: strong}\n", "gripper.force_n: expected a number, got 'strong'"),
        ("gripper: {force_n: .nan}\n", "gripper.force_n: expected a finite number"),
        ("gripper: 5\n", "gripper: expected a mapping of fields, got 5"),
        ("camera: {width: 640.5}\n", "camera.width: expected a whole number"),
        ("robot_type: ur5\n", "robot_type: expected one of fr3"),
        ("home_joint_positions_rad: [0, 0, 0]\n", "home_joint_positions_rad: expected a list of 7 numbers"),
        (
            "home_joint_positions_rad: [0, 0, 0, 0, 0, 1.5, 0]\n",
            "home_joint_positions_rad[3]: 0 is out of bounds, expected -3.0421 to -0.1518",
        ),
        ("F_T_EE: [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\n", "F_T_EE: expected a rotation matrix"),
        (
            "keep_outs: [{name: post, min_m: [1, 0, 0], max_m: [0, 1, 1]}]\n",
            "keep_outs[0]: expected min_m < max_m in x, got 1 and 0",
        ),
        ("keep_outs: [{min_m: [0, 0, 0], max_m: [1, 1, 1]}]\n", "keep_outs[0].name: required"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_field(tmp_path: Path, change: str, text: str) -> None:
    path = cell(tmp_path, MINIMAL + change)
    with pytest.raises(CellConfigError) as refusal:
        load_cell(path)
    assert str(refusal.value).startswith(f"{path}:")
    assert text in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping"),
        ("- 1\n", "expected a mapping"),
        ("robot_ip: [1\n", "not valid YAML"),
        ("robot_ip: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_cell_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CellConfigError, match=expected):
        load_cell(cell(tmp_path, text))


def test_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(CellConfigError, match=f"clar cell init {path}"):
        load_cell(path)


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(CellConfigError) as refusal:
        load_cell(cell(tmp_path, "robot_ip: 5\nmotion_box: {min_m: [0, 0, 0]}\nspeed: 1\n"))
    assert str(refusal.value).count("\n") == 3
