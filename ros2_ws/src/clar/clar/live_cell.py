"""The live cell as trials see it: the services of arm, simulator and recorder, and the newest of their states."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from clar import names, qos
from clar.calls import CallError, call_successfully, wait_until
from clar_interfaces.msg import RobotState, SimState
from clar_interfaces.srv import EndEpisode, ResetCell, Start, StartEpisode

_QUICK_S = 5.0
_MOTION_S = 30.0
_MODE_WITHIN_S = 2.0
_SUCCESS_STATES = 2


class LiveCell:
    """Implements ``clar.trials.Cell`` with the services of the running stack.

    Args:
        node: the node that calls; its executor must have several threads.
        simulated: whether the simulator resets the objects and judges success; the operator does otherwise.
        auto_arm: whether to arm, and to recover after a halt, without asking. Simulated cell only.
        reset_pause_s: time for the operator to put the objects out.
        group: callback group of the clients and subscriptions.
        source: who commands, and owns the arm after :meth:`start`.
        marks: offer the services by which an operator marks success or failure.
    """

    def __init__(
        self,
        node: Node,
        *,
        simulated: bool,
        auto_arm: bool,
        reset_pause_s: float,
        group: CallbackGroup,
        source: str = names.SOURCE_POLICY,
        marks: bool = True,
    ) -> None:
        self._node = node
        self._source = source
        self._simulated = simulated
        self._auto_arm = auto_arm
        self._reset_pause_s = reset_pause_s
        self._robot: RobotState | None = None
        self._marked: bool | None = None
        self._successes_in_a_row = 0
        self._clients = {
            name: node.create_client(kind, name, callback_group=group)
            for name, kind in (
                (names.SERVICE_ARM, Trigger),
                (names.SERVICE_RECOVER, Trigger),
                (names.SERVICE_HOME, Trigger),
                (names.SERVICE_OPEN_GRIPPER, Trigger),
                (names.SERVICE_STOP, Trigger),
                (names.SERVICE_START, Start),
                (names.SERVICE_SIM_RESET, ResetCell),
                (names.SERVICE_START_EPISODE, StartEpisode),
                (names.SERVICE_END_EPISODE, EndEpisode),
                (names.SERVICE_UNDO_EPISODE, Trigger),
            )
        }
        self._instruction_publisher = node.create_publisher(String, names.TOPIC_POLICY_INSTRUCTION, qos.LATCHED)
        # The mode alone, latched and published when it changes: a hundred states a second are nobody's need here.
        node.create_subscription(RobotState, names.TOPIC_ROBOT_MODE, self._on_robot, qos.LATCHED, callback_group=group)
        if marks:
            node.create_service(Trigger, names.SERVICE_MARK_SUCCESS, self._marker(True), callback_group=group)
            node.create_service(Trigger, names.SERVICE_MARK_FAILURE, self._marker(False), callback_group=group)
        if simulated:
            node.create_subscription(SimState, names.TOPIC_SIM_STATE, self._on_sim, qos.STATE, callback_group=group)

    def instruct(self, instruction: str) -> None:
        """Give the policy another sentence; an empty one keeps the present one."""
        if instruction:
            self._instruction_publisher.publish(String(data=instruction))

    def make_armed(self) -> None:
        """See to it that the arm is ARMED. Without ``auto_arm`` that is the operator's to do: CallError says how."""
        if not wait_until(lambda: self._robot is not None, _QUICK_S):
            raise CallError(f"no mode on {names.TOPIC_ROBOT_MODE}: is the arm node active?")
        mode = self._mode()
        if mode == RobotState.MODE_ARMED:
            return
        if mode == RobotState.MODE_RUNNING:
            raise CallError("the arm is RUNNING for somebody else: clar stop")
        if not self._auto_arm:
            halted = mode == RobotState.MODE_HALTED
            raise CallError(
                "the arm is HALTED: clar recover, then clar arm" if halted else "the arm is DISARMED: clar arm"
            )
        if mode == RobotState.MODE_HALTED:
            self._trigger(names.SERVICE_RECOVER, _MOTION_S)
        self._trigger(names.SERVICE_ARM, _QUICK_S)
        if not wait_until(lambda: self._mode() == RobotState.MODE_ARMED, _MODE_WITHIN_S):
            raise CallError(f"{names.SERVICE_ARM} said yes, but the arm is not ARMED after {_MODE_WITHIN_S:g} s")

    def arm(self) -> None:
        """ARM, by request of the operator."""
        self._trigger(names.SERVICE_ARM, _QUICK_S)

    def open_gripper(self) -> None:
        """Open the gripper."""
        self._trigger(names.SERVICE_OPEN_GRIPPER, _MOTION_S)

    def home(self) -> None:
        """Move slowly to the home joints of cell.yaml."""
        self._trigger(names.SERVICE_HOME, _MOTION_S)

    def reset(self, task: str, seed: int) -> None:
        """Put the objects out: the simulator by seed, the operator within ``reset_pause_s``."""
        if self._simulated:
            self._call(names.SERVICE_SIM_RESET, ResetCell.Request(task=task, seed=seed), _QUICK_S)
        else:
            self._node.get_logger().info(f"put the objects out: START in {self._reset_pause_s:g} s")
            time.sleep(self._reset_pause_s)

    @property
    def robot(self) -> RobotState | None:
        """The newest mode, None before the first."""
        return self._robot

    def start(self, owner: str = "") -> None:
        """START for this cell's source, or for another owner: from RUNNING that is a take-over."""
        self._marked = None
        self._successes_in_a_row = 0
        self._call(names.SERVICE_START, Start.Request(owner=owner or self._source), _QUICK_S)
        if not wait_until(lambda: self._mode() != RobotState.MODE_ARMED, _MODE_WITHIN_S):
            raise CallError(f"{names.SERVICE_START} said yes, but the arm is not RUNNING after {_MODE_WITHIN_S:g} s")

    def stop(self) -> None:
        """STOP; the gripper keeps its grip. A stop that is not confirmed is logged as an error, and not raised."""
        try:
            self._trigger(names.SERVICE_STOP, _QUICK_S)
            # the mode comes on a topic, later than the answer: whoever asks next must not find RUNNING
            if not wait_until(lambda: self._mode() != RobotState.MODE_RUNNING, _MODE_WITHIN_S):
                raise CallError(f"{names.SERVICE_STOP} said yes, but the arm is RUNNING after {_MODE_WITHIN_S:g} s")
        except CallError as error:
            self._node.get_logger().error(f"STOP was not confirmed, use the hardware stop: {error}")

    def verdict(self) -> bool | None:
        """The simulator's success predicate, or the operator's mark."""
        if self._marked is not None:
            return self._marked
        return True if self._successes_in_a_row >= _SUCCESS_STATES else None

    def not_running(self) -> str | None:
        """Why the arm does not execute the policy any more."""
        robot = self._robot
        if robot is None or self._arm_is_gone():
            return "the arm node has gone"
        if robot.mode == RobotState.MODE_RUNNING:
            return None
        return f"the arm stopped: {robot.reason or 'no reason given'}"

    def start_episode(self, task: str, instruction: str, seed: int, operator_name: str = "") -> None:
        """Begin an episode of the recorder."""
        request = StartEpisode.Request(
            task=task,
            instruction=instruction,
            operator_name=operator_name,
            source=self._source,
            seed=seed if self._simulated else -1,
        )
        self._call(names.SERVICE_START_EPISODE, request, _QUICK_S)

    def end_episode(self, success: bool | None) -> str:
        """End the episode with its outcome; None discards it. Returns what the recorder says about it."""
        outcome = {
            True: EndEpisode.Request.OUTCOME_SUCCESS,
            False: EndEpisode.Request.OUTCOME_FAILURE,
            None: EndEpisode.Request.OUTCOME_DISCARD,
        }[success]
        return self._call(names.SERVICE_END_EPISODE, EndEpisode.Request(outcome=outcome), _MOTION_S)

    def undo_episode(self) -> str:
        """Take the last kept episode out. Returns what the recorder says about it."""
        return self._call(names.SERVICE_UNDO_EPISODE, Trigger.Request(), _MOTION_S)

    def _arm_is_gone(self) -> bool:
        return self._node.count_publishers(names.TOPIC_ROBOT_MODE) == 0

    def _mode(self) -> int | None:
        return None if self._robot is None else int(self._robot.mode)

    def _trigger(self, name: str, timeout_s: float) -> None:
        self._call(name, Trigger.Request(), timeout_s)

    def _call(self, name: str, request: Any, timeout_s: float) -> str:
        return call_successfully(self._clients[name], request, timeout_s)

    def _marker(self, success: bool) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def mark(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            running = self._mode() == RobotState.MODE_RUNNING
            if running:
                self._marked = success
            response.success = running
            response.message = "marked" if running else "no trial is running"
            return response

        return mark

    def _on_robot(self, state: RobotState) -> None:
        self._robot = state

    def _on_sim(self, state: SimState) -> None:
        self._successes_in_a_row = self._successes_in_a_row + 1 if state.success else 0
