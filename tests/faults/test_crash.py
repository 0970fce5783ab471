"""The arm node dies: the robot comes to rest without it, and the node comes back DISARMED."""

from __future__ import annotations

from pathlib import Path

from tests.faults.contract import Entry
from tests.faults.rig import DISARMED, fault_rig
from tests.ros.processes import Probe, node_process, wait_for


def test_a_crash_of_the_arm_node_stops_the_robot_and_it_comes_back_disarmed(
    probe: Probe, fci_address: str, tmp_path: Path, faults: list[Entry]
) -> None:
    with fault_rig(probe, tmp_path, fci_address, faults) as rig:
        rig.robot.set_gripper(object_m=0.04)
        rig.run()
        rig.drive_until(lambda: rig.robot.report().holds, gripper=0.0)
        rig.drive_until(lambda: rig.robot.report().still_since_ns == 0, gripper=0.0)
        process = rig.arm.node.process
        stop = rig.time_to_rest(process.kill)
        process.wait()
        count = len(rig.arm.states)
        settings = {"cell": str(tmp_path / "cell.yaml"), "hardware": "sim", "autostart": True}
        with node_process("clar.nodes.arm", settings):
            wait_for(lambda: len(rig.arm.states) > count + 5, "the node's second life")
            assert rig.state.mode == DISARMED
            rig.enter(12, "kill -9 of the arm node in motion", stop, response="back, DISARMED", within_s=0.4)
            assert rig.robot.report().holds
            rig.enter(19, "kill -9 of the arm node with an object in the hand", response="the object is still held")
