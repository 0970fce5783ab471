"""The live cell against an arm that the test plays."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from clar import names, qos
from clar.live_cell import LiveCell
from clar_interfaces.msg import RobotState
from tests.ros.processes import Probe, wait_for

LATE_S = 0.3


def test_stop_returns_once_the_arm_is_seen_to_have_stopped(probe: Probe) -> None:
    group = ReentrantCallbackGroup()
    mode = probe.node.create_publisher(RobotState, names.TOPIC_ROBOT_MODE, qos.LATCHED)
    cell = LiveCell(probe.node, simulated=False, auto_arm=False, reset_pause_s=0.0, group=group, marks=False)

    def stop(request: Trigger.Request, response: Trigger.Response) -> Any:
        threading.Timer(LATE_S, lambda: mode.publish(RobotState(mode=RobotState.MODE_ARMED))).start()
        response.success = True
        return response

    probe.node.create_service(Trigger, names.SERVICE_STOP, stop, callback_group=group)
    mode.publish(RobotState(mode=RobotState.MODE_RUNNING))
    wait_for(lambda: cell.robot is not None, "the mode")
    cell.stop()
    cell.make_armed()
    assert cell.robot is not None
    assert cell.robot.mode == RobotState.MODE_ARMED
