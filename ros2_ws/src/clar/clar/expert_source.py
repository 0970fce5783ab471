"""The task's expert in the place of an operator: its steps, and the unattended collection that it gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import CallbackGroup

from clar import bridge, names, qos
from clar.calls import wait_until
from clar.capture_stamps import CaptureStamps
from clar.collection import Collection, CollectionError, Collector
from clar.live_cell import LiveCell
from clar.node import SimpleNode
from clar.teleop_settings import TeleopParameters
from clar_core.control.action import Action
from clar_core.simulation.perturbation import Perturbation
from clar_core.simulation.tasks import get_task
from clar_core.teleop.scripted import OPERATOR_PERTURBATION, ScriptConfig, ScriptedOperator
from clar_interfaces.msg import SimState

_READY_WITHIN_S = 150.0
_LINGER_S = 0.4
_LOG_PERIOD_S = 2.0


class ExpertSource:
    """Steps of the expert from the state of the simulated cell.

    Args:
        node: that subscribes, and ends when the collection is done.
        p: parameters of the node.
        cell: the live cell.
        stamps: of the depth images.
        group: callback group of the subscriptions.
    """

    def __init__(
        self, node: SimpleNode, p: TeleopParameters, cell: LiveCell, stamps: CaptureStamps, group: CallbackGroup
    ) -> None:
        self._node, self._p, self._cell, self._stamps = node, p, cell, stamps
        self._expert = ScriptedOperator(p.task, ScriptConfig(perturb=_perturbation(p)))
        self._sim: SimState | None = None
        self._stack = ""
        self._acting = self._arrived = False
        node.create_subscription(SimState, names.TOPIC_SIM_STATE, self._on_sim, qos.SENSOR, callback_group=group)
        node.create_subscription(
            DiagnosticStatus, names.TOPIC_MANAGER_STATUS, self._on_stack, qos.LATCHED, callback_group=group
        )

    def step(self) -> tuple[Action, int] | None:
        """The step to command now and the stamp of the image that caused it, 0 for none; None without a state."""
        if self._sim is None:
            return None
        try:
            view = self._expert.view(self._sim.qpos)
        except ValueError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=_LOG_PERIOD_S)
            return None
        decision = self._expert.act(view) if self._acting else self._expert.wander(view)
        if decision is None:
            self._arrived = True
            return Action.hold(1.0), 0
        seen_ns = bridge.stamp_to_ns(self._sim.header.stamp)
        return decision.action, self._stamps.nearest(seen_ns) if decision.observed else 0

    def start_collecting(self) -> None:
        """Collect in a thread of its own, if episodes are asked for; the node ends with the collection."""
        if self._p.episodes:
            self._node.in_thread("collection", self._collect)

    def _collect(self) -> None:
        p, node = self._p, self._node
        ready = wait_until(
            lambda: self._stack == "ready" and len(self._stamps) > 0, _READY_WITHIN_S, node.stop_requested.is_set
        )
        if node.stop_requested.is_set():
            return
        if not ready:
            node.request_stop(f"the stack was not ready within {_READY_WITHIN_S:g} s: see the messages of its nodes")
            return
        task = get_task(p.task)
        config = Collection(
            task=p.task,
            instructions=(p.instruction,) if p.instruction else task.instructions,
            operator_name=p.operator_name,
            time_limit_s=p.time_limit_s or 1.5 * task.time_limit_s,
            linger_s=_LINGER_S,
        )
        collector = Collector(
            self._cell,
            config,
            begin=self._begin,
            arrived=lambda: self._arrived,
            act=self._act,
            cancelled=node.stop_requested.is_set,
        )
        try:
            successes, tried = collector.run(count(p.first_seed), p.episodes, node.get_logger().info)
        except CollectionError as error:
            node.request_stop(str(error))
            return
        node.get_logger().info(f"collection done: {successes} successes in {tried} episodes")
        node.request_stop()

    def _begin(self, seed: int) -> None:
        self._acting = self._arrived = False
        self._expert.begin(seed)

    def _act(self) -> None:
        self._acting = True

    def _on_sim(self, state: SimState) -> None:
        self._sim = state

    def _on_stack(self, status: DiagnosticStatus) -> None:
        self._stack = status.message


def _perturbation(p: TeleopParameters) -> Perturbation:
    return replace(OPERATOR_PERTURBATION, rate=p.disturb_rate, miss_rate=p.miss_rate)
