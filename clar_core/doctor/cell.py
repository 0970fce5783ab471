"""The cell file, and the calibration that it names."""

from __future__ import annotations

from pathlib import Path

from clar_core.cell_config import CellConfig, CellConfigError, load_cell
from clar_core.doctor.finding import Finding, fail, ok, skip


def cell_file(path: Path | None) -> tuple[CellConfig | None, list[Finding]]:
    """The cell, when its file is whole, and what was found."""
    if path is None:
        return None, [skip("cell.yaml", "none given", "clar doctor --cell my_cell.yaml (`clar cell init` writes one)")]
    try:
        cell = load_cell(path)
    except CellConfigError as error:
        return None, [fail("cell.yaml", str(error), "edit the file")]
    return cell, [ok("cell.yaml", f"{path}: robot {cell.robot_ip}, camera {cell.camera.serial or 'any'}")]


def calibration(cell: CellConfig | None, max_age_days: float) -> list[Finding]:
    """Whether the calibration is there, young enough, and of the camera that the cell names."""
    if cell is None:
        return [skip("calibration", "no cell file")]
    from clar_calibration import load_calibration

    path = cell.calibration_path
    try:
        result = load_calibration(path)
    except (OSError, ValueError) as error:
        return [fail("calibration", str(error), "calibrate the camera")]
    try:
        result.check_age(max_age_days)
    except ValueError as error:
        return [fail("calibration", f"{path}: {error}", "calibrate again")]
    if cell.camera.serial and result.camera_serial != cell.camera.serial:
        found = f"{path} is of camera {result.camera_serial}, the cell has {cell.camera.serial}"
        return [fail("calibration", found, "calibrate this camera")]
    return [
        ok("calibration", f"{path}: {result.date:%Y-%m-%d}, {result.holdout_translation_mm:.1f} mm on held-out poses")
    ]
