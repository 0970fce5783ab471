"""The policy's 10 Hz clock: newest cloud + robot state at its capture -> network -> DeltaCommand.

Every tick publishes a PolicyTick, whether or not a command came of it, and why not. A command goes out on every tick
that has a fresh observation; whether it moves the arm is the arm node's business alone (START names the owner).
Configure loads the checkpoint and warms the network up; activate starts the clock. Neither moves anything.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from clar import bridge, names, qos
from clar.node import ERROR, OK, WARN, Health, LifecycleNode, NodeError
from clar.parameters import LifecycleParameters, parameter
from clar.process import run_node
from clar_core.control.action import STEP_PERIOD_S
from clar_core.control.ticks import TickClock, aligned_start, awaited_until
from clar_core.observation.builder import proprioception
from clar_core.observation.freshness import AgeLimits
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import StampedState, StateBuffer, StateGapError
from clar_interfaces.msg import DeltaCommand, PolicyTick, RobotState, StageTimings

_LOG_PERIOD_S = 2.0
_NICENESS = -5
_ARRIVALS = 30
_EARLY_S = 1e-4
"""A timer may fire this much before the tick that it serves is due."""
_FEWEST_DECISIONS = 8
_FIRST_SEQUENCE_NS = 100_000_000


@dataclass(frozen=True, kw_only=True)
class PolicyParameters(LifecycleParameters):
    """Parameters of the policy node."""

    checkpoint: str = parameter(description="Directory of the policy checkpoint.")
    instruction: str = parameter("", "Sentence for a language-conditioned policy; others ignore it.")
    device: str = parameter(
        "auto", "Where the network runs; auto takes CUDA when there is one.", choices=("auto", "cpu", "cuda")
    )
    torch_threads: int = parameter(1, "Threads of the network on the CPU.", minimum=1, maximum=64)
    tick_margin_s: float = parameter(
        0.008,
        "From the mean arrival of a cloud to the tick that takes it; ticks are aligned to the camera at activation.",
        unit="s",
        minimum=0.0,
        maximum=0.05,
    )
    max_age_s: float = parameter(
        0.15, "A tick whose newest observation is older is skipped.", unit="s", minimum=0.02, maximum=0.3
    )
    max_future_s: float = parameter(
        0.02, "A tick whose observation is stamped further ahead is skipped.", unit="s", minimum=0.0, maximum=0.1
    )


class SkippedTickError(Exception):
    """No command comes of this tick; the text says why."""


class PolicyNode(LifecycleNode):
    """Turns observations into commands at 10 Hz."""

    node_name = names.NODE_POLICY
    parameters_type = PolicyParameters

    def configure(self) -> None:
        """Load the checkpoint, warm the network up, connect to the observation."""
        from clar_core.runtime import PolicyRuntime  # here, so that a wrong parameter is refused within a second

        p = self.parameters
        start = time.monotonic()
        self._runtime = PolicyRuntime.load(p.checkpoint, device=p.device, threads=p.torch_threads)
        if self._runtime.image_size:
            raise NodeError(
                f"the policy of {p.checkpoint} sees colour images of {self._runtime.image_size} pixels, and this node"
                " gives it clouds only: try it in simulation (clar eval cell, clar eval metaworld), or run a policy"
                " that sees clouds"
            )
        self._runtime.check_instruction(p.instruction or None)
        self._runtime.warm_up()
        self.get_logger().info(
            f"checkpoint {p.checkpoint} loaded and warmed up in {time.monotonic() - start:.1f} s"
            f" ({self._runtime.device.type}, {self._runtime.dtype})"
        )
        self._spec: ObservationSpec = self._runtime.spec
        self._limits = AgeLimits(max_age_s=p.max_age_s, max_future_s=p.max_future_s)
        self._states = StateBuffer(self._spec)
        self._cloud: PointCloud2 | None = None
        self._spec_objection: str | None = None  # until the cloud node has said what it follows
        self._instruction = p.instruction
        # Tenths of a second since the epoch: a node that restarts never repeats a sequence it has published.
        self._sequence = time.time_ns() // _FIRST_SEQUENCE_NS
        self._ticks = self._commands = self._overruns = self._overruns_in_a_row = 0
        self._skipped = ""
        self._waiting_tick_s: float | None = None
        self._cloud_until_s: float | None = None
        self._decisions_s: deque[float] = deque(maxlen=_ARRIVALS)
        self._running = False
        self._arrivals_s: deque[float] = deque(maxlen=_ARRIVALS)
        self.create_subscription(PointCloud2, names.TOPIC_CLOUD, self._on_cloud, qos.SENSOR)
        self.create_subscription(RobotState, names.TOPIC_ROBOT_STATE, self._on_state, qos.STATE)
        self.create_subscription(String, names.TOPIC_CLOUD_SPEC, self._on_spec, qos.LATCHED)
        self.create_subscription(String, names.TOPIC_POLICY_INSTRUCTION, self._on_instruction, qos.LATCHED)
        self.create_subscription(String, names.TOPIC_CALIBRATION, self._on_calibration, qos.LATCHED)

    def waiting_for(self) -> str:
        """The inputs that have not arrived yet."""
        missing = []
        if self._spec_objection is None:
            missing.append(f"an observation spec on {names.TOPIC_CLOUD_SPEC}")
        if self._cloud is None:
            missing.append(f"a cloud on {names.TOPIC_CLOUD}")
        if not len(self._states):
            missing.append(f"a robot state on {names.TOPIC_ROBOT_STATE}")
        return " and ".join(missing)

    def activate(self) -> None:
        """Start the clock."""
        if self._spec_objection:
            raise NodeError(self._spec_objection)
        self._command_publisher = self.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self._tick_publisher = self.create_publisher(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
        self._timings_publisher = self.create_publisher(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
        # What lives now lives until the end: keep the collector from walking through the network at every full pass.
        gc.collect()
        gc.freeze()
        self.on_release(gc.unfreeze)
        self._waiting_tick_s = None
        steady = Clock(clock_type=ClockType.STEADY_TIME)

        def start() -> None:
            self.destroy_timer(alignment)
            self._tick_clock = TickClock(STEP_PERIOD_S, time.monotonic() - _EARLY_S)
            self.create_timer(STEP_PERIOD_S, self._on_timer, clock=steady)

        now_s = time.monotonic()
        begin_s = aligned_start(self._arrivals_s, self.parameters.tick_margin_s, now_s)
        alignment = self.create_timer(max(begin_s - now_s, 1e-3), start, clock=steady)

    def deactivate(self) -> None:
        """Forget the tick that waits for its state."""
        self._waiting_tick_s = None

    def health(self) -> Health:
        """A warning while ticks are skipped, an error while inference is too slow."""
        values: dict[str, object] = {
            "ticks": self._ticks,
            "commands": self._commands,
            "overruns": self._overruns,
            "instruction": self._instruction,
        }
        if self._overruns_in_a_row:
            return Health(ERROR, f"inference takes longer than a tick ({self._overruns_in_a_row} in a row)", values)
        if self._skipped:
            return Health(WARN, f"ticks are skipped: {self._skipped}", values)
        return Health(OK, "commands at 10 Hz" if self.active else "ready", values)

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self._cloud = cloud
        self._arrivals_s.append(time.monotonic())
        self._cloud_until_s = None
        self._serve_waiting()

    def _on_state(self, state: RobotState) -> None:
        try:
            pose = bridge.pose_to_matrix(state.measured_pose)
        except ValueError as error:
            self.get_logger().warning(f"robot state dropped: {error}", throttle_duration_sec=_LOG_PERIOD_S)
            return
        running = state.mode == RobotState.MODE_RUNNING
        if running and not self._running:
            self._runtime.reset()  # a trial begins: what was seen and planned before START is of another one
        self._running = running
        self._states.append(StampedState(bridge.stamp_to_ns(state.header.stamp), pose, state.gripper_width))
        self._serve_waiting()

    def _on_spec(self, message: String) -> None:
        try:
            differences = self._spec.differences(ObservationSpec.from_dict(json.loads(message.data)))
        except ValueError as error:
            differences = [str(error)]
        self._spec_objection = (
            "the clouds follow another observation spec than the checkpoint (field: checkpoint's, cloud node's): "
            + "; ".join(differences)
            + f". Give both nodes the same checkpoint, here {self.parameters.checkpoint}"
            if differences
            else ""
        )

    def _on_instruction(self, message: String) -> None:
        try:
            self._runtime.check_instruction(message.data)
        except ValueError as error:
            self.get_logger().error(f"instruction kept as {self._instruction!r}: {error}")
            return
        self._instruction = message.data

    def _on_calibration(self, message: String) -> None:
        if remark := self._runtime.remark_on_calibration(message.data):
            self.get_logger().warning(remark)

    def _on_timer(self) -> None:
        tick = self._tick_clock.serve(time.monotonic())
        if tick is None:
            return
        if self._waiting_tick_s is not None:
            self._publish_tick(self._waiting_tick_s, skipped="no robot state came from after the depth image's capture")
            self._waiting_tick_s = None
        for due_s in tick.missed_s:
            self._publish_tick(due_s, skipped="missed: the tick before it took longer than a period")
        self._waiting_tick_s = tick.due_s
        self._cloud_until_s = self._awaited_until(tick.due_s)
        self._serve_waiting()

    def _awaited_until(self, due_s: float) -> float | None:
        """Until when a tick may wait for a cloud that is late, so that the decision still ends within the period."""
        if len(self._decisions_s) < _FEWEST_DECISIONS:
            return None
        until_s = awaited_until(self._arrivals_s, self.parameters.tick_margin_s, time.monotonic())
        # what counts is the network: a policy of plans answers at once as long as one lasts
        lately_s = np.array(self._decisions_s)
        latest_s = due_s + STEP_PERIOD_S - float(np.median(lately_s[lately_s > lately_s.max() / 2]))
        return None if until_s is None else min(until_s, latest_s)

    def _serve_waiting(self) -> None:
        """Serve the tick that is due once everything that is about to come is there; asked at every arrival."""
        if self._waiting_tick_s is None or self._cloud_is_due() or self._state_is_due():
            return
        due_s, self._waiting_tick_s = self._waiting_tick_s, None
        self._serve(due_s)

    def _cloud_is_due(self) -> bool:
        """Whether a newer cloud is awaited; the robot states that come meanwhile see when it is not any more."""
        return self._cloud_until_s is not None and time.monotonic() < self._cloud_until_s

    def _state_is_due(self) -> bool:
        """Whether only the robot state after the newest cloud's capture is missing: it will come within a period."""
        newest_ns = self._states.newest_stamp_ns()
        if self._cloud is None or newest_ns is None:
            return False
        stamp_ns = bridge.stamp_to_ns(self._cloud.header.stamp)
        return newest_ns < stamp_ns and self._limits.objection(stamp_ns, self.get_clock().now().nanoseconds) is None

    def _serve(self, due_s: float) -> None:
        """One tick: a command, or the reason why there is none."""
        begun_s = time.monotonic()
        try:
            command, stages_ms = self._decide()
            self._decisions_s.append(time.monotonic() - begun_s)
            self._check_punctual(due_s)
        except SkippedTickError as reason:
            self._publish_tick(due_s, skipped=str(reason))
            return
        command.header.stamp = self.get_clock().now().to_msg()
        self._command_publisher.publish(command)
        self._publish_tick(due_s, command=command)
        self._timings_publisher.publish(bridge.stage_timings("policy", command.observation_stamp, stages_ms))

    def _decide(self) -> tuple[DeltaCommand, dict[str, float]]:
        """The command for the newest observation and the time of each stage; raises SkippedTickError."""
        cloud = self._cloud
        if cloud is None:
            raise SkippedTickError(f"no cloud on {names.TOPIC_CLOUD} yet")
        if self._spec_objection:
            raise SkippedTickError(self._spec_objection)
        stamp_ns = bridge.stamp_to_ns(cloud.header.stamp)
        objection = self._limits.objection(stamp_ns, self.get_clock().now().nanoseconds)
        if objection:
            raise SkippedTickError(objection)
        try:
            state = self._states.at(stamp_ns)
            points = bridge.cloud_to_points(cloud)
            proprioceptive = proprioception(state.T_base_tcp, state.gripper_width_m, self._spec)
            decision = self._runtime.act(points, proprioceptive, self._instruction or None)
        except (StateGapError, ValueError, RuntimeError) as error:  # a network that fails costs the tick, not the node
            raise SkippedTickError(str(error)) from error
        self._sequence += 1
        command = bridge.action_to_command(
            decision.action,
            source=names.SOURCE_POLICY,
            sequence=self._sequence,
            frame=self._spec.base_frame,
            observation=cloud.header.stamp,
        )
        return command, decision.stages_ms

    def _check_punctual(self, due_s: float) -> None:
        """Raise SkippedTickError for an action that comes too late. After several, the silence halts the arm."""
        late_s = time.monotonic() - due_s
        if late_s <= STEP_PERIOD_S:
            self._overruns_in_a_row = 0
            return
        self._overruns += 1
        self._overruns_in_a_row += 1
        raise SkippedTickError(
            f"inference overrun: the action came {late_s * 1e3:.0f} ms after its tick,"
            f" {self._overruns_in_a_row} in a row"
        )

    def _publish_tick(self, due_s: float, command: DeltaCommand | None = None, skipped: str = "") -> None:
        now_ns = self.get_clock().now().nanoseconds
        age_s = time.monotonic() - due_s
        message = PolicyTick(skipped=skipped)
        message.header.stamp = bridge.ns_to_stamp(now_ns - int(age_s * 1e9))
        if self._cloud is not None:
            message.observation_stamp = self._cloud.header.stamp
        if command is not None:
            message.sequence = command.sequence
            message.command_stamp = command.header.stamp
            message.on_time = age_s <= STEP_PERIOD_S
            self._commands += 1
        self._tick_publisher.publish(message)
        self._ticks += 1
        self._skipped = skipped
        if skipped:
            self.get_logger().warning(f"tick skipped: {skipped}", throttle_duration_sec=_LOG_PERIOD_S)


def main() -> int:
    """Run the policy node."""
    return run_node(PolicyNode, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
