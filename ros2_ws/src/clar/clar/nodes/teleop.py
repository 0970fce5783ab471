"""An operator's device, or the task's expert in its place, commands the arm at 10 Hz and runs the recording session.

Commands go out only while this source owns the arm, and carry the capture stamp of the newest depth image. The dead-man
let go, or the device lost, is a step of zero at once. What the device does is published and recorded with the episode.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar.bringup import NodeReports
from clar.calls import CallError
from clar.capture_stamps import CaptureStamps
from clar.live_cell import LiveCell
from clar.node import ERROR, OK, WARN, Health, NodeError, SimpleNode
from clar.process import run_node
from clar.teleop_settings import TeleopParameters, make_device, recorder_line
from clar_core.control.action import STEP_PERIOD_S, Action
from clar_core.simulation.tasks import get_task
from clar_core.teleop.reading import Device, DeviceLostError, Reading
from clar_core.teleop.session import Effect, Phase, Session, SessionConfig
from clar_core.teleop.shaping import Presses, Shaper, ShapingConfig
from clar_interfaces.msg import DeltaCommand, RobotState, TeleopStatus

if TYPE_CHECKING:
    from clar.expert_source import ExpertSource

_POLL_S = 0.02
_STATUS_S = 0.25
_FIRST_SEQUENCE_NS = 100_000_000
_THREADS = 4
_LOG_PERIOD_S = 2.0


class TeleopNode(SimpleNode):
    """Device, commands and session."""

    node_name = names.NODE_TELEOP
    parameters_type = TeleopParameters
    parameters: TeleopParameters

    def configure(self) -> None:
        """Check the parameters, make the expert or connect to the device."""
        p = self.parameters
        scripted = p.device == "scripted"
        if p.auto_arm and p.hardware != "sim":
            raise NodeError("auto_arm: refused with hardware real; arm by hand: clar arm")
        if scripted and p.hardware != "sim":
            raise NodeError("device: scripted reads the state of the simulated cell; with hardware real use another")
        self.source = names.SOURCE_SCRIPTED if scripted else names.SOURCE_TELEOP
        self._shaper = Shaper(
            ShapingConfig(linear_m_s=p.linear_m_s, angular_rad_s=p.angular_rad_s, dead_zone=p.dead_zone, frame=p.frame)
        )
        self._presses = Presses(ShapingConfig().debounce_s)
        self._session = Session(SessionConfig(countdown_s=p.countdown_s))
        self._lock = threading.Lock()
        self._effects: queue.SimpleQueue[Effect | None] = queue.SimpleQueue()
        self._reading = Reading()
        self._lost = ""
        self._rotation = np.eye(3)
        self._commands = 0
        self._sequence = time.time_ns() // _FIRST_SEQUENCE_NS
        self._was_owner = self._running = False
        self._group = ReentrantCallbackGroup()
        self._reports = NodeReports(self)
        self._cell = LiveCell(
            self,
            simulated=p.hardware == "sim",
            auto_arm=p.auto_arm,
            reset_pause_s=0.0,
            group=self._group,
            source=self.source,
            marks=False,
        )
        self._device: Device | None = None
        self._expert: ExpertSource | None = None
        self._stamps = CaptureStamps(self, self._group)
        if scripted:
            from clar.expert_source import ExpertSource  # which loads the simulator

            self._expert = ExpertSource(self, p, self._cell, self._stamps, self._group)
            return
        self._device = make_device(self, p, self._group)
        self.on_release(self._device.close)
        self.create_subscription(
            RobotState, names.TOPIC_ROBOT_STATE, self._on_state, qos.SENSOR, callback_group=self._group
        )

    def activate(self) -> None:
        """Start the clocks, and the collection if the expert is the operator."""
        self._command_publisher = self.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self._status_publisher = self.create_publisher(TeleopStatus, names.TOPIC_TELEOP_STATUS, qos.LATCHED)
        self._stop_client = self.create_client(Trigger, names.SERVICE_STOP, callback_group=self._group)
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        ticking = MutuallyExclusiveCallbackGroup()
        self.create_timer(STEP_PERIOD_S, self._tick, callback_group=ticking, clock=clock)
        if self._expert is not None:
            self._expert.start_collecting()
            return
        self.create_timer(_POLL_S, self._poll, callback_group=ticking, clock=clock)
        self.create_timer(_STATUS_S, self._tell, callback_group=self._group)
        self.in_thread("session", self._do_effects)
        self.on_release(lambda: self._effects.put(None))

    def deactivate(self) -> None:
        """Stop the arm if it is ours."""
        if self._owns():
            self._stop_client.call_async(Trigger.Request())

    def health(self) -> Health:
        """An error while the device is lost."""
        values: dict[str, object] = {
            "device": self.parameters.device,
            "commands": self._commands,
            "frame": self._shaper.frame,
            "speed_scale": self._shaper.scale,
            "episodes_kept": self._session.kept,
            "session": self._session.phase.value,
        }
        if self._lost:
            return Health(ERROR, f"device lost: {self._lost}", values)
        if not self._stamps:
            return Health(
                WARN, f"no depth camera_info on {names.TOPIC_DEPTH_INFO}: nothing to pair actions with", values
            )
        return Health(OK, "owns the arm" if self._owns() else "ready", values)

    # The stream

    def _tick(self) -> None:
        """One step, while the arm is ours."""
        if not self._owns():
            self._was_owner = False
            return
        if not self._was_owner:
            self._was_owner = True
            self._shaper.gripper = self._cell.robot.gripper_target if self._cell.robot else 1.0
        if self._expert is None:
            self._publish(self._shaper.action(self._reading, self._rotation), self._stamps.newest())
        elif (step := self._expert.step()) is not None:
            self._publish(*step)

    def _publish(self, action: Action, observation_ns: int) -> None:
        self._sequence += 1
        command = bridge.action_to_command(
            action,
            source=self.source,
            sequence=self._sequence,
            frame=names.BASE_FRAME,
            observation=bridge.ns_to_stamp(observation_ns),
        )
        command.header.stamp = self.get_clock().now().to_msg()
        self._command_publisher.publish(command)
        self._commands += 1

    def _owns(self) -> bool:
        robot = self._cell.robot
        return robot is not None and robot.mode == RobotState.MODE_RUNNING and robot.owner == self.source

    # The device

    def _poll(self) -> None:
        now_s = time.monotonic()
        before = self._reading
        try:
            self._reading = self._device.read(now_s)  # type: ignore[union-attr]
        except DeviceLostError as error:
            self._on_loss(str(error), before)
            return
        if self._lost:
            self.get_logger().info("the device is back")
            self._lost = ""
        if before.dead_man and not self._reading.dead_man and self._owns():
            self._publish(Action.hold(self._shaper.gripper), 0)
        for press in self._presses.update(self._reading.pressed, now_s):
            if self._shaper.press(press):
                continue
            self._request(lambda press=press: self._session.press(press, now_s))
        self._request(lambda: self._session.tick(now_s))
        if before.dead_man != self._reading.dead_man:
            self._tell()

    def _on_loss(self, reason: str, before: Reading) -> None:
        self._reading = Reading()
        if self._lost:
            return
        self._lost = reason
        self.get_logger().error(f"device lost, zero twist: {reason}")
        if self._owns():
            self._publish(Action.hold(self._shaper.gripper), 0)
        self._tell()
        self._request(lambda: self._session.lost(f"device lost: {reason}"))

    def _request(self, ask) -> None:
        with self._lock:
            effects = ask()
        for effect in effects:
            if effect is Effect.STOP:
                self._stop_client.call_async(Trigger.Request())  # at once, whatever the session's thread waits for
            self._effects.put(effect)

    def _tell(self) -> None:
        robot = self._cell.robot
        recording = self._session.phase is Phase.RECORDING and self._running
        if recording and robot is not None and robot.mode != RobotState.MODE_RUNNING:
            self._request(lambda: self._session.lost(f"the arm stopped: {robot.reason}"))
        message = TeleopStatus(
            device=self.parameters.device,
            source=self.source,
            connected=not self._lost,
            dead_man=self._reading.dead_man,
            gripper=self._shaper.gripper,
            speed_scale=self._shaper.scale,
            frame=self._shaper.frame,
            phase=self._session.phase.value,
            prompt=self._session.prompt(time.monotonic()),
        )
        message.header = Header(stamp=self.get_clock().now().to_msg(), frame_id=names.BASE_FRAME)
        self._status_publisher.publish(message)
        if sys.stdout.isatty():
            line = f"{message.prompt} | {recorder_line(self._reports.of(names.NODE_RECORDER))}"
            print(f"\r\x1b[K{line[:200]}", end="", flush=True)

    # The session's effects, in a thread of their own

    def _do_effects(self) -> None:
        while (effect := self._effects.get()) is not None:
            try:
                self._do(effect)
            except CallError as error:
                self.get_logger().error(str(error))
                with self._lock:
                    self._session.failed(str(error))

    def _do(self, effect: Effect) -> None:
        p, cell = self.parameters, self._cell
        if effect is Effect.PREPARE:
            cell.make_armed()
            if p.home_first:
                cell.open_gripper()
                cell.home()
            if p.hardware == "sim":
                cell.reset(p.task, p.first_seed + self._session.kept)
            with self._lock:
                self._session.prepared(time.monotonic())
        elif effect is Effect.BEGIN:
            self._running = False
            seed = p.first_seed + self._session.kept
            cell.start_episode(p.task, p.instruction or _sentence(p.task), seed, p.operator_name)
            try:
                cell.start()
            except CallError:
                cell.end_episode(None)
                raise
            self._running = True
        elif effect is Effect.STOP:
            cell.stop()
        elif effect in _OUTCOMES:
            success = _OUTCOMES[effect]
            text = cell.end_episode(success)
            with self._lock:
                self._session.ended(text, kept=success is not None)
        elif effect is Effect.UNDO:
            text = cell.undo_episode()
            with self._lock:
                self._session.undone(text)
        elif effect is Effect.ARM:
            cell.arm()
        else:
            cell.start(self.source if effect is Effect.TAKE_OVER else names.SOURCE_POLICY)

    # What comes in

    def _on_state(self, state: RobotState) -> None:
        try:
            self._rotation = bridge.pose_to_matrix(state.measured_pose)[:3, :3]
        except ValueError as error:
            self.get_logger().warning(f"robot state dropped: {error}", throttle_duration_sec=_LOG_PERIOD_S)


_OUTCOMES = {Effect.END_SUCCESS: True, Effect.END_FAILURE: False, Effect.END_DISCARD: None}


def _sentence(task: str) -> str:
    """The task's first sentence, if it is one of the simulated cell's; empty otherwise."""
    try:
        return get_task(task).instructions[0]
    except LookupError:
        return ""


def main() -> int:
    """Run the teleop node."""
    return run_node(TeleopNode, threads=_THREADS, shared_memory=False)


if __name__ == "__main__":
    sys.exit(main())
