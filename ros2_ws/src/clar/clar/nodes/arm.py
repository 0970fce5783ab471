"""The arm: the only process that talks to the robot, and it stops by itself when commands stop.

Executes ``DeltaCommand`` of the present owner through supervisor, envelope and step tracking; publishes the robot's
state at 100 Hz. Activating connects and streams, it never moves: motion needs ``/clar/robot/arm``, then
``/clar/robot/start``. STOP and DISARM are served by a node and a thread of their own, so that they answer while
anything else here hangs.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from clar import bridge, names, qos
from clar.arm_settings import ArmParameters, check_combination, controller_settings, franka_config, gripper_config
from clar.drivers.franka import FrankaArm
from clar.drivers.franka_gripper import FrankaGripper
from clar.node import ERROR, OK, Health, LifecycleNode
from clar.process import run_node
from clar_core.cell_config import load_cell
from clar_core.control.clock import read_clocks
from clar_core.control.commands import ClockWatch, Command
from clar_core.control.controller import ArmController
from clar_core.control.gates import Gates
from clar_core.control.loop import ArmLoop, LoopState
from clar_core.control.orders import Snapshot
from clar_core.control.robot import RobotError
from clar_core.control.supervisor import Change, Mode, RefusedError
from clar_core.control.teller import Teller
from clar_interfaces.msg import DeltaCommand, RobotState, StageTimings
from clar_interfaces.srv import Start

_LOG_PERIOD_S = 2.0
_NICENESS = -10
"""Whatever else runs on the machine, the arm comes first."""
_SILENT_AFTER_S = 0.5
_GRIPPER_TIMEOUT_S = 10.0
_JOINT_NAMES = [f"fr3_joint{i}" for i in range(1, 8)]
_FINGER_NAMES = ["fr3_finger_joint1", "fr3_finger_joint2"]


class ArmNode(LifecycleNode):
    """Bridges ROS and the arm's loop."""

    node_name = names.NODE_ARM
    parameters_type = ArmParameters

    def configure(self) -> None:
        """Read the cell file, check the parameters, offer STOP."""
        check_combination(self.parameters, self.get_parameter("use_sim_time").value)
        self._cell = load_cell(self.parameters.cell)
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        p = self.parameters
        gates = Gates(p.required_gates, p.overridden_gates, lambda text: self.get_logger().warning(text))
        self._controller = ArmController(controller_settings(p, self._cell), self._on_change, gates)
        self.create_subscription(DiagnosticStatus, names.TOPIC_GATES, self._on_gate, qos.GATES)
        self._clock_watch = ClockWatch()
        self._loop: ArmLoop | None = None
        self._dropped = ""
        self.on_release(_serve_stop(self._controller))

    def activate(self) -> None:
        """Connect to the robot and stream its state. Nothing moves."""
        self._state_publisher = self.create_publisher(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
        self._mode_publisher = self.create_publisher(RobotState, names.TOPIC_ROBOT_MODE, qos.LATCHED)
        self._joints_publisher = self.create_publisher(JointState, names.TOPIC_JOINT_STATES, qos.STATE)
        self._tf_publisher = self.create_publisher(TFMessage, names.TOPIC_TF, qos.STATE)
        self._timings_publisher = self.create_publisher(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)

        self._teller = Teller(self._on_untold)
        self.on_release(self._teller.close)
        gripper = FrankaGripper(gripper_config(self.parameters, self._cell))
        self.on_release(gripper.close)
        arm = FrankaArm(franka_config(self.parameters, self._cell))
        self.on_release(arm.close)
        loop = ArmLoop(
            self._controller,
            arm,
            gripper,
            on_state=self._on_state,
            on_problem=self._on_problem,
            impedance=self.parameters.tracking == "impedance",
        )
        self._controller.disarm("the arm node begins", time.monotonic())
        self._loop = loop
        loop.start()
        self._mode_publisher.publish(self._robot_state(loop.state, self._controller.snapshot()))

        quick, slow = MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        commands = MutuallyExclusiveCallbackGroup()
        self.create_subscription(
            DeltaCommand, names.TOPIC_COMMAND, self._on_command, qos.COMMAND, callback_group=commands
        )
        self.create_service(Trigger, names.SERVICE_ARM, self._on_arm, callback_group=quick)
        self.create_service(Start, names.SERVICE_START, self._on_start, callback_group=quick)
        self.create_service(Trigger, names.SERVICE_RECOVER, self._on_recover, callback_group=slow)
        self.create_service(Trigger, names.SERVICE_HOME, self._on_home, callback_group=slow)
        self.create_service(Trigger, names.SERVICE_RETURN, self._on_return, callback_group=slow)
        self.create_service(Trigger, names.SERVICE_OPEN_GRIPPER, self._on_open_gripper, callback_group=slow)
        self.create_service(Trigger, names.SERVICE_HOME_GRIPPER, self._on_home_gripper, callback_group=slow)
        if self.parameters.auto_arm:
            self._controller.arm(loop.state.arm, loop.state.gripper, time.monotonic())

    def deactivate(self) -> None:
        """Ramp to zero, say so, and let go of the robot. The gripper keeps its grip."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close("the arm node ends")
            self._teller.close()
            self._state_publisher.publish(self._robot_state(loop.state, self._controller.snapshot()))
            self._publish_changes(loop.state)

    def health(self) -> Health:
        """An error while HALTED, disconnected or silent."""
        if not self.active or self._loop is None:
            return Health(OK, "not connected")
        state, controller = self._loop.state, self._controller
        values: dict[str, object] = {
            "mode": controller.mode.name,
            "owner": controller.owner,
            "reason": controller.reason,
            "robot_mode": state.arm.robot_mode,
            "command_success_rate": state.arm.command_success_rate,
            "clamped_commands": controller.clamped_count,
            "rejected_commands": controller.rejected_count,
            "last_rejection": self._dropped,
            "closed_gates": "; ".join(controller.gates.objections()),
        }
        silent_s = time.monotonic() - state.arm.read_at_s
        if silent_s > _SILENT_AFTER_S:
            return Health(ERROR, f"no state from the robot for {silent_s:.1f} s", values)
        if controller.mode is Mode.HALTED:
            return Health(ERROR, f"HALTED: {controller.reason}", values)
        return Health(OK, controller.mode.name, values)

    def _on_gate(self, status: DiagnosticStatus) -> None:
        self._controller.gates.update(bridge.status_to_gate(status))

    # Commands

    def _on_command(self, message: DeltaCommand) -> None:
        loop = self._loop
        if loop is None:
            return
        wall_ns, now_s = read_clocks()
        t, r = message.translation, message.rotation
        command = Command(
            values=(t.x, t.y, t.z, r.x, r.y, r.z, message.gripper),
            source=message.source,
            sequence=message.sequence,
            frame_id=message.header.frame_id,
            stamp_ns=bridge.stamp_to_ns(message.header.stamp),
            observation_stamp_ns=bridge.stamp_to_ns(message.observation_stamp),
        )
        accepted = self._controller.accept(command, loop.state.arm.T_base_tcp, wall_ns, now_s)
        if accepted.gripper_open is not None:
            loop.command_gripper(accepted.gripper_open)
        if accepted.executed:
            stages_ms = {"transport": (wall_ns - command.stamp_ns) * 1e-6, "accept": (time.monotonic() - now_s) * 1e3}
            if command.observation_stamp_ns:
                stages_ms["capture_to_arm"] = (wall_ns - command.observation_stamp_ns) * 1e-6
            self._timings_publisher.publish(bridge.stage_timings("arm", message.observation_stamp, stages_ms))
        elif accepted.reason:
            self._dropped = accepted.reason
            self.get_logger().warning(
                f"command {command.sequence} of {command.source} dropped: {accepted.reason}",
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    # Services

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        def arm() -> object:
            state = self._connected().state
            return self._controller.arm(state.arm, state.gripper, time.monotonic())

        return _answer(response, arm)

    def _on_start(self, request: Start.Request, response: Start.Response) -> Start.Response:
        def start() -> object:
            state = self._connected().state
            return self._controller.start(request.owner, state.arm, state.gripper, time.monotonic())

        return _answer(response, start)

    def _on_recover(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, lambda: self._connected().recover(), "recovered; the arm is disarmed")

    def _on_home(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        joints, speed = self._cell.home_joint_positions_rad, self.parameters.home_speed
        return _answer(response, lambda: self._connected().home(joints, speed), "at home")

    def _on_return(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, lambda: self._connected().return_to_start(self.parameters.home_speed), "at the start")

    def _on_open_gripper(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, lambda: self._move_gripper(lambda loop: loop.request_gripper(True)), "open")

    def _on_home_gripper(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, lambda: self._move_gripper(ArmLoop.home_gripper), "homed")

    def _connected(self) -> ArmLoop:
        """The loop. Raises RefusedError while the node lets go of the robot: services outlive it by a moment."""
        if self._loop is None:
            raise RefusedError("the arm node is letting go of the robot: activate it again")
        return self._loop

    def _move_gripper(self, request: Callable[[ArmLoop], None]) -> None:
        loop = self._connected()
        request(loop)
        until_s = time.monotonic() + _GRIPPER_TIMEOUT_S
        time.sleep(0.05)
        while loop.state.gripper.busy and not loop.state.gripper.fault and time.monotonic() < until_s:
            time.sleep(0.02)
        if loop.state.gripper.fault:
            raise RobotError(loop.state.gripper.fault)

    # In the loop's thread, which waits for nobody

    def _on_state(self, state: LoopState) -> None:
        wall_ns, now_s = read_clocks()
        jump_s = self._clock_watch.update(wall_ns * 1e-9, now_s)
        if jump_s is not None:
            self._controller.halt(f"the wall clock jumped by {jump_s * 1e3:+.0f} ms: check time synchronisation", now_s)
        standing = self._controller.snapshot()
        self._teller.put(lambda: self._publish(state, standing))

    def _on_problem(self, text: str) -> None:
        self._teller.put(lambda: self.get_logger().error(text))

    # In the teller's thread

    def _publish(self, state: LoopState, standing: Snapshot) -> None:
        self._publish_changes(state)
        header = Header(stamp=bridge.ns_to_stamp(state.arm.stamp_ns), frame_id=names.BASE_FRAME)
        self._state_publisher.publish(self._robot_state(state, standing))
        self._joints_publisher.publish(_joint_state(state, header))
        transform = TransformStamped(header=header, child_frame_id=names.TCP_FRAME)
        transform.transform = bridge.matrix_to_transform(state.arm.T_base_tcp)
        self._tf_publisher.publish(TFMessage(transforms=[transform]))

    def _publish_changes(self, state: LoopState) -> None:
        changed = False
        while not self._changes.empty():
            self._log(self._changes.get())
            changed = True
        if changed:
            self._mode_publisher.publish(self._robot_state(state, self._controller.snapshot()))

    def _on_untold(self, error: Exception) -> None:
        reason = f"the arm's state cannot be published ({type(error).__name__}: {error}): restart the arm node"
        self._controller.halt(reason, time.monotonic())

    def _robot_state(self, state: LoopState, standing: Snapshot) -> RobotState:
        arm = state.arm
        message = RobotState(
            mode=int(standing.mode),
            owner=standing.owner,
            reason=standing.reason,
            measured_pose=bridge.matrix_to_pose(arm.T_base_tcp),
            commanded_pose=bridge.matrix_to_pose(standing.T_commanded),
            measured_twist=bridge.array_to_twist(arm.twist),
            commanded_twist=bridge.array_to_twist(state.sent_twist),
            gripper_target=standing.gripper_target,
            errors=list(arm.errors),
            robot_mode=arm.robot_mode,
            control_command_success_rate=arm.command_success_rate,
            last_sequence=standing.last_sequence,
            clamped_commands=standing.clamped_count,
            rejected_commands=standing.rejected_count,
        )
        message.header.stamp = bridge.ns_to_stamp(arm.stamp_ns)
        message.header.frame_id = names.BASE_FRAME
        if state.gripper is not None:
            message.gripper_width = state.gripper.width_m
        return message

    def _on_change(self, change: Change) -> None:
        self._changes.put(change)

    def _log(self, change: Change) -> None:
        # rclpy fixes the severity of a log call at its place in the code, so there are two.
        if change.target is Mode.HALTED:
            self.get_logger().error(str(change))
        else:
            self.get_logger().info(str(change))


def _joint_state(state: LoopState, header: Header) -> JointState:
    arm, gripper = state.arm, state.gripper
    fingers = [] if gripper is None else [0.5 * gripper.width_m] * 2
    still = [0.0] * len(fingers)
    return JointState(
        header=header,
        name=_JOINT_NAMES + _FINGER_NAMES[: len(fingers)],
        position=arm.joints_rad.tolist() + fingers,
        velocity=arm.joint_velocities_rad_s.tolist() + still,
        effort=arm.joint_torques_nm.tolist() + still,
    )


def _answer(response, request, done=""):
    """Answer a service by doing what it asks; refusals and faults become its message."""
    try:
        result = request()
    except (RefusedError, RobotError) as error:
        response.success, response.message = False, str(error)
    else:
        response.success, response.message = True, done or str(result)
    return response


def _serve_stop(controller: ArmController):
    """Offer STOP and DISARM from a node with an executor thread of its own; returns what ends it."""
    node = Node(f"{names.NODE_ARM}_stop")

    def stop(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        change = controller.stop("stopped by the operator", time.monotonic())
        response.success, response.message = True, str(change) if change else f"nothing moves ({controller.mode.name})"
        return response

    def disarm(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        change = controller.disarm("disarmed by the operator", time.monotonic())
        response.success, response.message = True, str(change) if change else "already DISARMED"
        return response

    node.create_service(Trigger, names.SERVICE_STOP, stop)
    node.create_service(Trigger, names.SERVICE_DISARM, disarm)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin, name="stop", daemon=True)
    thread.start()

    def end() -> None:
        executor.shutdown(timeout_sec=1.0)
        thread.join(1.0)
        node.destroy_node()

    return end


def main() -> None:
    """Run the arm node, and end its process."""
    status = run_node(ArmNode, threads=4, niceness=_NICENESS, shared_memory=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # A call of the robot's library that hangs in a thread would abort the interpreter's own way out.
    os._exit(status)


if __name__ == "__main__":
    main()
