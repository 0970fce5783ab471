"""The emulator's process: prints ``ready``, then a JSON report for every JSON line on its standard input, obeyed."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any

from tests.hardware.fci_emulator.arm import EmulatedArm
from tests.hardware.fci_emulator.gripper_server import GripperServer
from tests.hardware.fci_emulator.protocol import GRIPPER_VERSION, ROBOT_VERSION, MoveStatus, RobotMode
from tests.hardware.fci_emulator.robot_server import RobotServer


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--version", type=int, default=ROBOT_VERSION)
    parser.add_argument("--gripper-version", type=int, default=GRIPPER_VERSION)
    parser.add_argument("--no-gripper", action="store_true")
    given = parser.parse_args()
    robot = RobotServer(EmulatedArm(), given.address, version=given.version)
    gripper = None if given.no_gripper else GripperServer(given.address, given.gripper_version)
    for server in (robot, gripper):
        if server is not None:
            threading.Thread(target=server.serve, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        robot.requests.append(lambda request=request: _do(request, robot, gripper))  # type: ignore[misc]


def _do(request: dict[str, Any], robot: RobotServer, gripper: GripperServer | None) -> None:
    arm = robot.arm
    if "error" in request:
        arm.fail(request["error"])
        robot.end_move(MoveStatus.REFLEX_ABORTED)
    if "push_n" in request and arm.push(request["push_n"]):
        robot.end_move(MoveStatus.REFLEX_ABORTED)
    if request.get("user_stop"):
        arm.user_stop()
        robot.end_move(MoveStatus.EMERGENCY_ABORTED)
    if "mode" in request:
        arm.finish()
        arm.mode = RobotMode[request["mode"]]
        robot.end_move(MoveStatus.EMERGENCY_ABORTED)
    if "joints_rad" in request:
        arm.guide(request["joints_rad"])
    if "success_rate" in request:
        arm.success_rate = request["success_rate"]
    for name, value in request.get("network", {}).items():
        setattr(robot, name, value)
    if gripper is not None:
        for name, value in request.get("gripper", {}).items():
            setattr(gripper, name, value)
    report = {
        "mode": arm.mode.name,
        "moving": arm.moving,
        "still_since_ns": arm.still_since_ns,
        "ticks": arm.ticks,
        "thresholds": arm.thresholds.tolist(),
        "load": arm.load.tolist(),
        "free_axes": arm.free_axes,
        "holds": gripper is not None and gripper.holds,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
