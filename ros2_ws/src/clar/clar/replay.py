"""``clar data replay BAG``: do an episode again on the arm of the running stack, through its supervisor.

The arm must be ARMED. It goes slowly to where the episode began, then makes the recorded steps at their recorded pace;
the envelope, STOP and every halt work as for any other source.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from clar import bridge, names, qos
from clar.calls import CallError, wait_until
from clar.live_cell import LiveCell
from clar.operate import short_lived_node
from clar_core.cli.main import fail
from clar_core.control.action import STEP_PERIOD_S, Action
from clar_core.control.ticks import paced
from clar_core.data.replay import Follower, RecordedMotion, approach, read_motion
from clar_interfaces.msg import DeltaCommand, RobotState

_APPROACH_S = 30.0
_FIRST_SEQUENCE_NS = 100_000_000
_REST_S = 1.0


@dataclass(frozen=True)
class Replay:
    """Do a recorded episode again on the arm of the running stack."""

    bag: Annotated[Path, tyro.conf.Positional]
    """A bag of the recorder."""
    episode: int = 0
    """Which of its episodes."""
    hardware: Literal["real", "sim"] = "real"
    """In the simulated cell the objects are put out by the recorded seed first."""
    home: bool = True
    """Open the gripper and go home first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, and tell how far the arm was from the recording; 1 with the reason when it cannot."""
    options = tyro.cli(Replay, prog="clar data replay", args=arguments)
    try:
        motion = read_motion(options.bag, options.episode)
    except (ValueError, OSError) as error:
        return fail(str(error))
    with short_lived_node("clar_replay", threads=2) as node:
        try:
            return _Replayer(node, motion, options).run()
        except CallError as error:
            return fail(str(error))


class _Replayer:
    def __init__(self, node: Node, motion: RecordedMotion, options: Replay) -> None:
        self._node, self._motion, self._options = node, motion, options
        group = ReentrantCallbackGroup()
        self._cell = LiveCell(
            node,
            simulated=options.hardware == "sim",
            auto_arm=False,
            reset_pause_s=0.0,
            group=group,
            source=names.SOURCE_REPLAY,
            marks=False,
        )
        self._publisher = node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self._state: RobotState | None = None
        self._states: list[RobotState] = []
        node.create_subscription(RobotState, names.TOPIC_ROBOT_STATE, self._on_state, qos.SENSOR, callback_group=group)
        self._sequence = time.time_ns() // _FIRST_SEQUENCE_NS

    def run(self) -> int:
        motion, cell = self._motion, self._cell
        cell.make_armed()
        if self._options.home:
            cell.open_gripper()
            cell.home()
        if self._options.hardware == "sim" and motion.seed >= 0:
            cell.reset(motion.task, motion.seed)
        if not wait_until(lambda: self._state is not None, 5.0):
            raise CallError(f"no state on {names.TOPIC_ROBOT_STATE}: is the arm node active?")
        print(f"episode {motion.episode}: {len(motion.actions)} steps, {motion.times_s[-1]:.1f} s; STOP: clar stop")
        cell.start()
        try:
            self._approach()
            deviations = self._replay()
            verdict = cell.verdict()
        finally:
            cell.stop()
        text = f"replayed: {np.mean(deviations) * 1e3:.1f} mm from the recording on average, "
        text += f"{np.max(deviations) * 1e3:.1f} mm at most"
        if self._options.hardware == "sim":
            text += "; the task succeeded" if verdict else "; the task did not succeed"
        print(text)
        return 0

    def _approach(self) -> None:
        end_s = time.monotonic() + _APPROACH_S
        due_s = time.monotonic()
        while (step := approach(self._T_measured(), self._motion)) is not None:
            if time.monotonic() > end_s:
                raise CallError(f"the start of the episode was not reached within {_APPROACH_S:g} s")
            self._publish(step)
            due_s = paced(due_s, STEP_PERIOD_S, time.monotonic())
            self._wait(due_s)

    def _replay(self) -> list[float]:
        """Make the steps; the distances, m, between arm and recording when each was made."""
        motion = self._motion
        del self._states[:-1]  # those of the approach; the newest stays, so that there is one
        stamps_ns = []
        follower = Follower(motion)
        due_s = time.monotonic()
        for number, pause_s in enumerate(np.diff(motion.times_s, append=motion.times_s[-1])):
            self._wait(due_s)
            stamps_ns.append(self._publish(self._step(follower, number)))
            due_s = paced(due_s, float(pause_s), time.monotonic())
        rest = Action.hold(float(motion.actions[-1, 6]))
        end_s = time.monotonic() + _REST_S
        while time.monotonic() < end_s and self._cell.verdict() is None:
            due_s = paced(due_s, STEP_PERIOD_S, time.monotonic())
            self._wait(due_s)
            self._publish(rest)
        at_ns = np.array([bridge.stamp_to_ns(state.header.stamp) for state in self._states])
        nearest = [self._states[int(np.argmin(np.abs(at_ns - stamp_ns)))] for stamp_ns in stamps_ns]
        measured = np.array([bridge.pose_to_matrix(state.measured_pose) for state in nearest])
        return np.linalg.norm(measured[:, :3, 3] - motion.T_recorded[:, :3, 3], axis=1).tolist()

    def _step(self, follower: Follower, number: int) -> Action:
        state = self._state  # read once: pose and sequence belong together, and states come in another thread
        assert state is not None
        T_commanded = bridge.pose_to_matrix(state.commanded_pose)
        return follower.step(number, self._sequence + 1, T_commanded, state.last_sequence)

    def _wait(self, until_s: float) -> None:
        if stopped := self._cell.not_running():
            raise CallError(stopped)
        time.sleep(max(0.0, until_s - time.monotonic()))

    def _publish(self, action: Action) -> int:
        """Publish a step; its stamp, ns."""
        self._sequence += 1
        command = bridge.action_to_command(
            action,
            source=names.SOURCE_REPLAY,
            sequence=self._sequence,
            frame=names.BASE_FRAME,
            observation=bridge.ns_to_stamp(0),
        )
        now = self._node.get_clock().now()
        command.header.stamp = now.to_msg()
        self._publisher.publish(command)
        return int(now.nanoseconds)

    def _T_measured(self) -> np.ndarray:
        assert self._state is not None
        return bridge.pose_to_matrix(self._state.measured_pose)

    def _on_state(self, state: RobotState) -> None:
        self._state = state
        self._states.append(state)


if __name__ == "__main__":
    sys.exit(main())
