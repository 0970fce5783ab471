"""A simulated robot, the arm node in front of it, and the means to operate both from a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar_interfaces.msg import DeltaCommand, RobotState
from clar_interfaces.srv import Start
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for
from tests.simulated_robot import SimulatedRobot

CELL = """\
robot_ip: {address}
motion_box:
  min_m: [0.35, -0.4, 0.3]
  max_m: [0.70, 0.4, 0.7]
home_joint_positions_rad: [0.1, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785]
"""


PATIENT = {"observation_drop_age_s": 1.0, "observation_halt_age_s": 2.0, "late_in_a_row_max": 50, "leash_time_s": 10.0}
"""A busy machine may be late, and its simulator slow; what these limits do is tested without either."""


def write_cell(folder: Path, address: str = "127.0.0.1") -> Path:
    """A cell file whose motion box contains the simulated robot's first pose."""
    path = folder / "cell.yaml"
    path.write_text(CELL.format(address=address))
    return path


class ArmRig:
    """Operates the arm node. Every method waits for its effect."""

    def __init__(self, probe: Probe, node: NodeProcess, robot: Any) -> None:
        self.probe, self.node, self.robot = probe, node, robot
        self.states: list[RobotState] = probe.collect(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
        self._publisher = probe.node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self._sequence = 0
        wait_for(lambda: self.states, f"the robot's state; the node said:\n{node.output}")
        wait_for(self._publisher.get_subscription_count, "the node's subscription")

    @property
    def state(self) -> RobotState:
        return self.states[-1]

    @property
    def pose(self) -> NDArray[np.float64]:
        return bridge.pose_to_matrix(self.state.measured_pose)

    def trigger(self, service: str) -> Trigger.Response:
        return self.probe.call(Trigger, service, Trigger.Request())

    def arm(self) -> None:
        """ARMED, whatever was before."""
        self.trigger(names.SERVICE_DISARM)
        response = self.trigger(names.SERVICE_ARM)
        assert response.success, response.message

    def start(self, owner: str = "policy") -> None:
        """RUNNING for an owner, whatever was before, standing still."""
        wait_for(lambda: self.speed() < 2e-3, "the arm at rest")
        self.arm()
        self.take(owner)

    def take(self, owner: str) -> Start.Response:
        response = self.probe.call(Start, names.SERVICE_START, Start.Request(owner=owner))
        assert response.success, response.message
        self.wait_for_mode(RobotState.MODE_RUNNING)
        return response

    def wait_for_mode(self, mode: int) -> RobotState:
        wait_for(lambda: self.state.mode == mode, f"mode {mode}; the node said:\n{self.node.output}")
        return self.state

    def send(self, step: tuple[float, ...] = (0, 0, 0, 0, 0, 0), gripper: float = 1.0, source: str = "policy") -> int:
        """Publish one command, stamped now."""
        self._sequence += 1
        command = DeltaCommand(source=source, sequence=self._sequence, gripper=gripper)
        command.header.frame_id = names.BASE_FRAME
        command.header.stamp = self.probe.node.get_clock().now().to_msg()
        command.observation_stamp = command.header.stamp
        command.translation, command.rotation = bridge.vector3(step[:3]), bridge.vector3(step[3:])
        self._publisher.publish(command)
        return self._sequence

    def drive(self, step: tuple[float, ...], ticks: int, **kwargs: object) -> None:
        """Commands at 10 Hz. After one that a busy machine delayed, the next comes no sooner than 100 ms later."""
        due_s = time.monotonic()
        for _ in range(ticks):
            sent_s = time.monotonic()
            self.send(step, **kwargs)  # type: ignore[arg-type]
            due_s = max(due_s, sent_s) + 0.1
            time.sleep(max(0.0, due_s - time.monotonic()))

    def speed(self, state: RobotState | None = None) -> float:
        linear = (state or self.state).measured_twist.linear
        return float(np.linalg.norm([linear.x, linear.y, linear.z]))

    def since(self, stamp_ns: int) -> list[RobotState]:
        """States measured after a wall time."""
        return [state for state in list(self.states) if bridge.stamp_to_ns(state.header.stamp) > stamp_ns]


@contextmanager
def arm_rig(
    probe: Probe, folder: Path, address: str, make_robot: Callable[[str], Any] = SimulatedRobot, **parameters: object
) -> Iterator[ArmRig]:
    """A simulated or emulated robot with the arm node, active and DISARMED."""
    cell = write_cell(folder, address)
    settings = {"cell": str(cell), "hardware": "sim", "autostart": True, **PATIENT, **parameters}
    with make_robot(address) as robot, node_process("clar.nodes.arm", settings) as node:
        yield ArmRig(probe, node, robot)
