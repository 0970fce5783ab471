"""Brings the managed nodes up, says what the stack is doing, and runs trials.

The stack ends active and DISARMED: bringing nodes up moves nothing. Trials (the action ``/clar/run_trials``) are the
one place where this node moves the arm, and only once it is ARMED: by the operator, or, in the simulated cell, by
``auto_arm``.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from clar import names, qos
from clar.bringup import Bringup, NodeReports
from clar.calls import CallError
from clar.live_cell import LiveCell
from clar.node import ERROR, KEY_PHASE, OK, WARN, Health, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar.trials import AbortedError, TrialResult, run_trial
from clar_interfaces.action import RunTrials

_THREADS = 4
_NICENESS = 5
_LOOK_PERIOD_S = 0.5
_ARM_WITHIN_S, _ARM_POLL_S = 20.0, 0.2


@dataclass(frozen=True, kw_only=True)
class ManagerParameters(NodeParameters):
    """Parameters of the manager node."""

    managed_nodes: tuple[str, ...] = parameter(
        (names.NODE_ARM, names.NODE_POLICY), "Lifecycle nodes to bring up, in this order."
    )
    awaited_nodes: tuple[str, ...] = parameter(
        (), "Nodes without a managed life cycle that must be active before any managed node is activated."
    )
    hardware: str = parameter("real", "What the stack drives.", choices=("real", "sim"))
    auto_arm: bool = parameter(False, "Arm by itself, at start-up and before a trial. Simulated cell only.")
    transition_timeout_s: float = parameter(
        60.0, "How long one transition of a node may take.", unit="s", minimum=1.0, maximum=600.0
    )
    ready_timeout_s: float = parameter(
        60.0, "How long a node may wait for its process or its inputs.", unit="s", minimum=1.0, maximum=600.0
    )
    reset_pause_s: float = parameter(
        10.0,
        "Time for the operator to put the objects out before a trial (real cell).",
        unit="s",
        minimum=0.0,
        maximum=600.0,
    )
    record_episodes: bool = parameter(False, "Record every trial as an episode of its own.")


class ManagerNode(SimpleNode):
    """Life cycle of the stack, and trials."""

    node_name = names.NODE_MANAGER
    parameters_type = ManagerParameters

    def configure(self) -> None:
        """Connect, and start bringing the stack up."""
        p = self.parameters
        if p.auto_arm and p.hardware == "real":
            raise ValueError("auto_arm: expected false with hardware real; arm by hand: clar arm")
        self._phase = "starting"
        self._trials = threading.Lock()
        self._group = ReentrantCallbackGroup()
        self._reports = NodeReports(self)
        self._status_publisher = self.create_publisher(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, qos.LATCHED)
        self.create_service(Trigger, names.SERVICE_MANAGER_STATUS, self._on_status, callback_group=self._group)
        self._cell = LiveCell(
            self, simulated=p.hardware == "sim", auto_arm=p.auto_arm, reset_pause_s=p.reset_pause_s, group=self._group
        )
        server = ActionServer(
            self,
            RunTrials,
            names.ACTION_RUN_TRIALS,
            self._run_trials,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=self._group,
        )
        self.on_release(server.destroy)
        self._bringup = Bringup(
            self,
            p.managed_nodes,
            p.awaited_nodes,
            self._reports,
            transition_timeout_s=p.transition_timeout_s,
            ready_timeout_s=p.ready_timeout_s,
            cancelled=self.stop_requested.is_set,
        )

    def activate(self) -> None:
        """Bring the stack up, and again what comes back after a crash."""
        self._start_bringup()
        self.create_timer(_LOOK_PERIOD_S, self._revive, callback_group=self._group)

    def health(self) -> Health:
        """What the stack is doing."""
        troubles = [text for text in self._reports.errors() if not text.startswith(self.get_name())]
        if troubles and self._phase == "ready":
            return Health(WARN, "; ".join(troubles))
        return Health(ERROR if self._phase == "failed" else OK, self._phase)

    def _revive(self) -> None:
        """Bring up again what has been started again: a node that crashed comes back unconfigured, the arm DISARMED."""
        back = [
            name for name in self.parameters.managed_nodes if self._reports.value(name, KEY_PHASE) == "unconfigured"
        ]
        if back and self._phase == "ready":
            self.get_logger().warning(f"{', '.join(back)} came back after an unexpected end and is brought up again")
            self._start_bringup()

    def _start_bringup(self) -> None:
        """In a thread of its own: callbacks carry the answers."""
        self._set_phase("starting")
        self.in_thread("bringup", self._bring_up)

    def _bring_up(self) -> None:
        try:
            self._bringup.run()
            if self.parameters.auto_arm:
                self._arm()
        except CallError as error:
            if not self.stop_requested.is_set():
                self._set_phase("failed")
                self.request_stop(str(error))
            return
        self._set_phase("ready")
        armed = "ARMED" if self.parameters.auto_arm else "DISARMED (clar arm)"
        self.get_logger().info(f"the stack is active and {armed}; next: clar start {names.SOURCE_POLICY}")

    def _arm(self) -> None:
        """ARM once nothing speaks against it: a gate is closed until its node knows enough, as the camera's place."""
        end_s = time.monotonic() + _ARM_WITHIN_S
        said = ""
        while True:
            try:
                self._cell.make_armed()
                return
            except CallError as error:
                if self.stop_requested.is_set() or time.monotonic() > end_s:
                    raise
                if str(error) != said:
                    said = str(error)
                    self.get_logger().info(f"waits to arm, at most {_ARM_WITHIN_S:g} s: {said}")
            time.sleep(_ARM_POLL_S)

    def _set_phase(self, phase: str) -> None:
        self._phase = phase
        level = {"failed": ERROR, "starting": WARN}.get(phase, OK)
        values = [
            KeyValue(key=name, value=self._reports.value(name, KEY_PHASE) or "")
            for name in self.parameters.managed_nodes
        ]
        self._status_publisher.publish(
            DiagnosticStatus(level=level, name=self.get_name(), message=phase, values=values)
        )

    def _on_status(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._phase not in ("starting", "failed")
        troubles = self._reports.errors()
        response.message = self._phase + (f"; {'; '.join(troubles)}" if troubles else "")
        return response

    # Trials

    def _on_goal(self, goal: RunTrials.Goal) -> GoalResponse:
        if self._phase != "ready":
            self.get_logger().warning(f"trials refused: the stack is {self._phase}, expected ready")
            return GoalResponse.REJECT
        if not goal.seeds or not goal.time_limit_s > 0:
            self.get_logger().warning(
                f"trials refused: expected at least one seed and a time limit above 0 s, got {len(goal.seeds)} seeds"
                f" and {goal.time_limit_s:g} s"
            )
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _run_trials(self, handle: ServerGoalHandle) -> RunTrials.Result:
        result = RunTrials.Result()
        if not self._trials.acquire(blocking=False):
            handle.abort()
            result.message = "other trials are running; cancel them first"
            return result
        try:
            self._set_phase("trials")
            self._run_all(handle, result)
        finally:
            self._set_phase("ready")
            self._trials.release()
        return result

    def _run_all(self, handle: ServerGoalHandle, result: RunTrials.Result) -> None:
        goal: RunTrials.Goal = handle.request
        self._cell.instruct(goal.instruction)
        outcomes: list[TrialResult] = []
        try:
            for index, seed in enumerate(goal.seeds):
                outcomes.append(self._one_trial(handle, index, int(seed), sum(o.success for o in outcomes)))
                last = outcomes[-1]
                self.get_logger().info(
                    f"trial {index + 1} of {len(goal.seeds)}: {last.reason}, {last.duration_s:.1f} s"
                )
        except (AbortedError, CallError) as error:
            result.message = f"ended after {len(outcomes)} of {len(goal.seeds)} trials: {error}"
            self.get_logger().error(result.message)
        result.success = len(outcomes) == len(goal.seeds)
        result.outcomes = [o.success for o in outcomes]
        result.durations_s = [o.duration_s for o in outcomes]
        result.reasons = [o.reason for o in outcomes]
        if result.success:
            result.message = f"{sum(result.outcomes)} of {len(outcomes)} trials succeeded"
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()

    def _one_trial(self, handle: ServerGoalHandle, index: int, seed: int, successes: int) -> TrialResult:
        goal: RunTrials.Goal = handle.request

        def report(phase: str, elapsed_s: float) -> None:
            handle.publish_feedback(
                RunTrials.Feedback(trial=index, phase=phase, elapsed_s=elapsed_s, successes=successes)
            )

        if self.parameters.record_episodes:
            self._cell.start_episode(goal.task, goal.instruction, seed)
        try:
            result = run_trial(
                self._cell,
                task=goal.task,
                seed=seed,
                time_limit_s=goal.time_limit_s,
                cancelled=lambda: handle.is_cancel_requested or self.stop_requested.is_set(),
                report=report,
            )
        except AbortedError:
            if self.parameters.record_episodes:
                self._cell.end_episode(None)
            raise
        if self.parameters.record_episodes:
            self._cell.end_episode(result.success)
        return result


def main() -> int:
    """Run the manager node."""
    return run_node(ManagerNode, threads=_THREADS, niceness=_NICENESS, shared_memory=False)


if __name__ == "__main__":
    sys.exit(main())
