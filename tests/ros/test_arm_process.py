"""The arm node's process: how it starts, refuses to start, and ends."""

import time
from pathlib import Path

import pytest

from tests.ros.arm_rig import arm_rig, write_cell
from tests.ros.processes import Probe, node_process, wait_for

DISARMED, ARMED = 0, 1
FORWARD = (0.01, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_ctrl_c_in_motion_ramps_to_zero_says_so_and_exits_within_four_seconds(
    probe: Probe, fci_address: str, tmp_path: Path
) -> None:
    with arm_rig(probe, tmp_path, fci_address) as rig:
        rig.start()
        rig.drive(FORWARD, 5)
        start_s = time.monotonic()
        status = rig.node.interrupt()
        assert time.monotonic() - start_s < 4.0
        assert status == 0
        wait_for(lambda: rig.state.mode == DISARMED, "the last state")
        assert rig.state.reason == "the arm node ends"
        assert rig.speed() < 5e-3


def test_auto_arm_arms_the_simulated_cell(probe: Probe, fci_address: str, tmp_path: Path) -> None:
    with arm_rig(probe, tmp_path, fci_address, auto_arm=True) as rig:
        rig.wait_for_mode(ARMED)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"hardware": "real", "auto_arm": True}, "auto_arm: refused with hardware:=real"),
        ({"hardware": "real", "use_sim_time": True}, "use_sim_time: refused with hardware:=real"),
        ({"cell": "/nowhere/cell.yaml"}, "clar cell init /nowhere/cell.yaml"),
        ({"hardware": "sim", "robot_ip": "127.0.1.255"}, "no gripper at 127.0.1.255"),
        ({"dynamics": 3.0}, "dynamics: 3.0 is out of bounds"),
    ],
)
def test_it_refuses_to_start_by_name(parameters: dict[str, object], text: str, tmp_path: Path, ros_domain: int) -> None:
    settings = {"cell": str(write_cell(tmp_path)), "autostart": True, **parameters}
    with node_process("clar.nodes.arm", settings) as node:
        assert node.wait_for_exit() != 0
        assert text in node.output
