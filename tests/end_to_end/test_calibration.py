"""Calibration from its launch file to the gate: a pass through the cell, and a camera that was moved since."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from clar import names, operate, qos
from clar_calibration import load_calibration
from clar_calibration.quality import check_quality
from clar_calibration.rendered import relative_to_truth
from clar_core.simulation.camera import T_BASE_DEPTH
from tests.end_to_end.launched import Launch
from tests.ros.checkpoint import write_checkpoint
from tests.ros.processes import Probe, wait_for

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(600)]

VIEWS = 12
SIMULATED_CELL = Path(__file__).parents[2] / "calibration/cells/sim/cell.yaml"


def test_a_pass_calibrates_the_camera_and_a_stack_refuses_to_arm_once_it_was_moved(
    probe: Probe, tmp_path: Path, fci_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = f"robot_ip:={fci_address}"
    session = tmp_path / "session"
    launch = Launch(tmp_path, robot, f"session:={session}", f"samples:={VIEWS}", file="calibrate.launch.py")
    try:
        assert launch.process.wait(300.0) == 0, launch.log.read_text()
    finally:
        launch.end()
    result = load_calibration(session / "calibration.yaml")
    check_quality(result)
    distance_mm, angle_deg = relative_to_truth(T_BASE_DEPTH, result.T_base_optical)
    assert distance_mm < 2.0
    assert angle_deg < 0.2
    assert "<img" in (session / "report.html").read_text()

    cell = tmp_path / "cell.yaml"
    shutil.copy(SIMULATED_CELL, cell)
    for file in session.glob("calibration.*"):
        shutil.copy(file, tmp_path)
    write_checkpoint(tmp_path / "policy")
    statuses = probe.collect(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, qos.LATCHED)
    gates = probe.collect(DiagnosticStatus, names.TOPIC_GATES, qos.GATES)
    moved = Launch(
        tmp_path, robot, "checkpoint:=policy", "device:=cpu", f"cell:={cell}", "camera_shift_mm:=[0.0, 3.0, 0.0]"
    )
    try:
        wait_for(
            lambda: moved.process.poll() is not None or (statuses and statuses[-1].message == "ready"),
            "the stack to be ready",
            180.0,
        )
        assert moved.process.poll() is None, moved.log.read_text()
        wait_for(lambda: any("has moved" in gate.message for gate in gates), "the look at the scene")
        capsys.readouterr()
        assert operate.main(["arm"]) == 1
        refusal = capsys.readouterr()
        assert "the camera has moved" in refusal.out + refusal.err
        assert not probe.call(Trigger, names.SERVICE_CHECK_SCENE, Trigger.Request()).success
    finally:
        moved.end()
