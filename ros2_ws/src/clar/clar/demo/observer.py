"""Watches a running stack: its status, the trials' progress, ticks, stage durations and the simulator's states."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar_core.evaluation.live import LiveRun, SimSample, StageSample, Tick
from clar_interfaces.action import RunTrials
from clar_interfaces.msg import PolicyTick, SimState, StageTimings

_NS = 1e-9
_ASK_AGAIN_S = 5.0


class Observer:
    """Fills a :class:`LiveRun` from the topics of a running stack, in a thread of its own.

    Attributes:
        status: what the manager says: "", "starting", "ready", "trials" or "failed".
    """

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self.status = ""
        self._context = rclpy.Context()
        self._context.init(args=[])
        self._node = Node("clar_demo", context=self._context, start_parameter_services=False, enable_rosout=False)
        node = self._node
        node.create_subscription(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, self._on_status, qos.LATCHED)
        node.create_subscription(PolicyTick, names.TOPIC_POLICY_TICK, self._on_tick, qos.STATE)
        node.create_subscription(StageTimings, names.TOPIC_TIMINGS, self._on_timings, qos.STATUS)
        node.create_subscription(SimState, names.TOPIC_SIM_STATE, self._on_sim, qos.STATE)
        self._markers = {
            success: node.create_client(Trigger, name)
            for success, name in ((True, names.SERVICE_MARK_SUCCESS), (False, names.SERVICE_MARK_FAILURE))
        }
        self._client = ActionClient(node, RunTrials, names.ACTION_RUN_TRIALS)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="observer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.try_shutdown()
        self._thread.join(timeout=5.0)

    def now_s(self) -> float:
        """Wall time, seconds since the epoch, as the stack's nodes stamp it."""
        return float(self._node.get_clock().now().nanoseconds) * _NS

    def other_stack(self) -> bool:
        """Whether the manager of another stack is on this ROS domain."""
        return names.NODE_MANAGER in self._node.get_node_names()

    def send_trials(
        self, goal: RunTrials.Goal, on_feedback: Callable[[RunTrials.Feedback], None]
    ) -> Callable[[], RunTrials.Result | None]:
        """Ask the manager for trials; the returned function gives the result once there is one.

        Raises:
            RuntimeError: by that function, when the manager refuses.
        """
        outcome: list[RunTrials.Result | Exception] = []
        accepted: list[Any] = []
        asked_s = [0.0]

        def ask() -> None:
            asked_s[0] = time.monotonic()
            accepted[0].get_result_async().add_done_callback(on_result)

        def on_result(future: Any) -> None:
            outcome.append(future.result().result)

        def on_answer(future: Any) -> None:
            handle = future.result()
            if not handle.accepted:
                outcome.append(RuntimeError("the manager refused to run trials: see its message in the log"))
                return
            accepted.append(handle)
            ask()

        def result() -> RunTrials.Result | None:
            # A machine that was suspended loses the answer: the middleware took the other side for dead.
            if accepted and not outcome and self.status == "ready" and time.monotonic() - asked_s[0] > _ASK_AGAIN_S:
                ask()
            if outcome and isinstance(outcome[0], Exception):
                raise outcome[0]
            return outcome[0] if outcome else None

        future = self._client.send_goal_async(goal, feedback_callback=lambda message: on_feedback(message.feedback))
        future.add_done_callback(on_answer)
        return result

    def mark(self, success: bool) -> None:
        """The operator's verdict on the running trial; ignored while none is running."""
        self._markers[success].call_async(Trigger.Request())

    def accepts_trials(self) -> bool:
        """Whether the manager's action is there."""
        return bool(self._client.server_is_ready())

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.status = message.message

    def _on_tick(self, message: PolicyTick) -> None:
        commanded = not message.skipped
        self.run.ticks.append(
            Tick(
                time_s=_seconds(message.header.stamp),
                capture_s=_seconds(message.observation_stamp),
                command_s=_seconds(message.command_stamp) if commanded else float("nan"),
                on_time=bool(message.on_time) and commanded,
                skipped=str(message.skipped),
            )
        )

    def _on_timings(self, message: StageTimings) -> None:
        durations = dict(zip(message.stages, (float(d) for d in message.durations_ms), strict=True))
        self.run.stages.append(StageSample(_seconds(message.header.stamp), str(message.node), durations))

    def _on_sim(self, message: SimState) -> None:
        self.run.states.append(
            SimSample(
                _seconds(message.header.stamp),
                int(message.seed),
                float(message.real_time_factor),
                tuple(float(q) for q in message.qpos),
            )
        )


def _seconds(stamp: Any) -> float:
    return float(bridge.stamp_to_ns(stamp)) * _NS
