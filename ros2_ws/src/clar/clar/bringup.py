"""Drives the life cycle of the managed nodes: each configured in order, then each activated in order.

What a node waits for and why it refuses is read from its own entry in /diagnostics, so that the operator reads one
sentence from the node that knows, not "transition failed".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from clar import names, qos
from clar.calls import CallError, ask
from clar.node import ERROR, KEY_PHASE, KEY_WAITING

_POLL_S = 0.05
_SAY_AFTER_S = 5.0
_REASON_WITHIN_S = 2.0
_LOST_AFTER_S = 3.0
_GOALS = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
}


class NodeReports:
    """The newest entry of every node in /diagnostics."""

    def __init__(self, node: Node) -> None:
        self._entries: dict[str, DiagnosticStatus] = {}
        self._condition = threading.Condition()
        node.create_subscription(
            DiagnosticArray,
            names.TOPIC_DIAGNOSTICS,
            self._on_diagnostics,
            qos.STATUS,
            callback_group=ReentrantCallbackGroup(),
        )

    def of(self, name: str) -> DiagnosticStatus | None:
        """What a node said last."""
        with self._condition:
            return self._entries.get(name)

    def value(self, name: str, key: str) -> str | None:
        """One value of what a node said last, None when it has said nothing yet."""
        entry = self.of(name)
        return None if entry is None else next((item.value for item in entry.values if item.key == key), "")

    def errors(self) -> list[str]:
        """``node: message`` of every node that reports an error."""
        with self._condition:
            entries = list(self._entries.values())
        return [f"{entry.name}: {entry.message}" for entry in entries if entry.level == ERROR]

    def await_entry(self, name: str, wanted: Callable[[DiagnosticStatus], bool], timeout_s: float) -> str:
        """The message of a node's entry once one is as wanted, or a hint to its log."""
        with self._condition:
            found = self._condition.wait_for(
                lambda: name in self._entries and wanted(self._entries[name]), timeout=timeout_s
            )
            return self._entries[name].message if found else "see its message in the log"

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._condition:
            self._entries.update({status.name: status for status in message.status})
            self._condition.notify_all()


class Bringup:
    """Takes managed nodes from unconfigured to active, in order.

    Args:
        node: the node that calls.
        managed: names of the lifecycle nodes, in order.
        awaited: names of nodes that must be active before any managed node is activated.
        reports: what the nodes say about themselves.
        transition_timeout_s: how long one transition may take (the policy loads and warms up in one).
        ready_timeout_s: how long a node may wait for its inputs, or for its process to appear.
        cancelled: whether the process is ending.
    """

    def __init__(
        self,
        node: Node,
        managed: Sequence[str],
        awaited: Sequence[str],
        reports: NodeReports,
        *,
        transition_timeout_s: float,
        ready_timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        group = ReentrantCallbackGroup()
        self._log = node.get_logger()
        self._managed = tuple(managed)
        self._awaited = tuple(awaited)
        self._reports = reports
        self._transition_timeout_s = transition_timeout_s
        self._ready_timeout_s = ready_timeout_s
        self._cancelled = cancelled
        self._change = {
            name: node.create_client(ChangeState, f"/{name}/change_state", callback_group=group) for name in managed
        }
        self._state = {
            name: node.create_client(GetState, f"/{name}/get_state", callback_group=group) for name in managed
        }

    def run(self) -> None:
        """Configure all, wait for the others, then activate all. Raises CallError with the refusing node and why."""
        for name in self._managed:
            if self._phase(name) == State.PRIMARY_STATE_UNCONFIGURED:
                self._transition(name, Transition.TRANSITION_CONFIGURE, "configure")
        for name in self._awaited:
            self._await_active(name)
        for name in self._managed:
            if self._phase(name) != State.PRIMARY_STATE_ACTIVE:
                self._await_inputs(name)
                self._transition(name, Transition.TRANSITION_ACTIVATE, "activate")

    def _phase(self, name: str) -> int:
        """Primary state of a node, once its process is there."""
        client = self._state[name]
        self._await(
            lambda: client.service_is_ready(),
            lambda: CallError(f"{name} did not appear within {self._ready_timeout_s:g} s: is its process running?"),
            lambda: f"waiting for the process of {name}",
        )
        return int(ask(client, GetState.Request(), self._transition_timeout_s).current_state.id)

    def _await_inputs(self, name: str) -> None:
        def missing() -> str:
            return self._reports.value(name, KEY_WAITING) or "its first report in /diagnostics"

        self._await(
            lambda: self._reports.value(name, KEY_PHASE) == "inactive" and not self._reports.value(name, KEY_WAITING),
            lambda: CallError(
                f"{name} still waits for {missing()} after {self._ready_timeout_s:g} s{self._troubles()}"
            ),
            lambda: f"{name} waits for {missing()}{self._troubles()}",
        )

    def _await_active(self, name: str) -> None:
        self._await(
            lambda: self._reports.value(name, KEY_PHASE) == "active",
            lambda: CallError(f"{name} is not active after {self._ready_timeout_s:g} s: is its process running?"),
            lambda: f"waiting for {name}",
        )

    def _await(self, condition: Callable[[], bool], error: Callable[[], CallError], say: Callable[[], str]) -> None:
        start_s = said_s = time.monotonic()
        while not condition():
            now_s = time.monotonic()
            if self._cancelled():
                raise CallError("called off: the stack is shutting down")
            if now_s - start_s > self._ready_timeout_s:
                raise error()
            if now_s - said_s > _SAY_AFTER_S:
                self._log.info(say())
                said_s = now_s
            time.sleep(_POLL_S)

    def _transition(self, name: str, transition: int, verb: str) -> None:
        start_s = time.monotonic()
        if not self._change_state(name, transition, start_s + self._transition_timeout_s):
            reason = self._reports.await_entry(name, lambda entry: entry.level == ERROR, _REASON_WITHIN_S)
            raise CallError(f"{name} refused to {verb}: {reason}")
        self._log.info(f"{name}: {verb}d in {time.monotonic() - start_s:.1f} s")

    def _change_state(self, name: str, transition: int, end_s: float) -> bool:
        """Request a transition; True once it is made. If its answer got lost (see ``ask``), the node's state counts."""
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = self._change[name].call_async(request)
        goal = _GOALS[transition]
        next_look_s = time.monotonic() + _LOST_AFTER_S
        while not answer.done():
            now_s = time.monotonic()
            if self._cancelled():
                raise CallError("called off: the stack is shutting down")
            if now_s > end_s:
                raise CallError(f"{name} did not end its transition within {self._transition_timeout_s:g} s")
            if now_s > next_look_s:
                if self._phase(name) == goal:
                    self._change[name].remove_pending_request(answer)
                    return True
                next_look_s = time.monotonic() + _LOST_AFTER_S
            time.sleep(_POLL_S)
        return bool(answer.result().success)

    def _troubles(self) -> str:
        """What nodes complain about: most likely the cause."""
        errors = self._reports.errors()
        return f" ({'; '.join(errors)})" if errors else ""
