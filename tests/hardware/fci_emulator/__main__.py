"""The emulator's process: prints ``ready``, then ``done`` for every JSON line on its standard input it has obeyed."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from tests.hardware.fci_emulator.arm import EmulatedArm
from tests.hardware.fci_emulator.gripper_server import GripperServer
from tests.hardware.fci_emulator.protocol import MoveStatus, RobotMode
from tests.hardware.fci_emulator.robot_server import RobotServer


def main(address: str) -> None:
    """Serve until standard input ends."""
    robot, gripper = RobotServer(EmulatedArm(), address), GripperServer(address)
    for server in (robot, gripper):
        threading.Thread(target=server.serve, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        robot.requests.append(lambda request=request: _do(request, robot, gripper))


def _do(request: dict[str, Any], robot: RobotServer, gripper: GripperServer) -> None:
    arm = robot.arm
    if "error" in request:
        arm.fail(request["error"])
        robot.end_move(MoveStatus.REFLEX_ABORTED)
    if request.get("user_stop"):
        arm.user_stop()
        robot.end_move(MoveStatus.EMERGENCY_ABORTED)
    if "mode" in request:
        arm.mode = RobotMode[request["mode"]]
    if "success_rate" in request:
        arm.success_rate = request["success_rate"]
    for name, value in request.get("gripper", {}).items():
        setattr(gripper, name, value)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
