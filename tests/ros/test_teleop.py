"""The teleop node in a process of its own: a gamepad, an arm and a recorder played by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped, Vector3
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import CameraInfo, Joy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar_core.teleop.joy import XBOX
from clar_interfaces.msg import DeltaCommand, RobotState, TeleopStatus
from clar_interfaces.srv import EndEpisode, ResetCell, Start, StartEpisode
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

PERIOD_S = 0.02


class Surroundings:
    """A gamepad, a six-axis device and camera_info at 50 Hz, and a list of what the node asked for."""

    def __init__(self, probe: Probe) -> None:
        self.axes = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]
        self.buttons = [0] * 11
        self.plugged = self.has_buttons = True
        self.twist = TwistStamped()
        self.asked: list[str] = []
        self.mode, self.owner = RobotState.MODE_ARMED, ""
        node = probe.node
        self._node = node
        group = ReentrantCallbackGroup()
        self._joy = node.create_publisher(Joy, names.TOPIC_JOY, 5)
        self._twist = node.create_publisher(TwistStamped, names.TOPIC_TWIST, 5)
        self._info = node.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR_PUBLISHER)
        self._mode = node.create_publisher(RobotState, names.TOPIC_ROBOT_MODE, qos.LATCHED)
        self.commands: list[DeltaCommand] = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self.statuses: list[TeleopStatus] = probe.collect(TeleopStatus, names.TOPIC_TELEOP_STATUS, qos.LATCHED)
        for name in (names.SERVICE_ARM, names.SERVICE_HOME, names.SERVICE_OPEN_GRIPPER, names.SERVICE_UNDO_EPISODE):
            node.create_service(Trigger, name, self._answer(name.rsplit("/", 1)[-1]), callback_group=group)
        node.create_service(Trigger, names.SERVICE_STOP, self._stop, callback_group=group)
        node.create_service(Start, names.SERVICE_START, self._start, callback_group=group)
        node.create_service(ResetCell, names.SERVICE_SIM_RESET, self._answer("reset"), callback_group=group)
        node.create_service(StartEpisode, names.SERVICE_START_EPISODE, self._answer("begin"), callback_group=group)
        node.create_service(EndEpisode, names.SERVICE_END_EPISODE, self._end, callback_group=group)
        self.say(RobotState.MODE_ARMED)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self, down: bool = True) -> None:
        self.buttons[XBOX.dead_man] = int(down)

    def press(self, name: str, until: Callable[[], Any], what: str) -> None:
        """Hold a button until it shows, then let go."""
        self.buttons[XBOX.buttons[name]] = 1
        wait_for(until, what)
        self.buttons[XBOX.buttons[name]] = 0

    def say(self, mode: int, owner: str = "", reason: str = "") -> None:
        self.mode, self.owner = mode, owner
        self._mode.publish(RobotState(mode=mode, owner=owner, reason=reason, gripper_target=1.0))

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            stamp = self._node.get_clock().now().to_msg()
            self._info.publish(CameraInfo(header=Header(stamp=stamp)))
            if self.plugged:
                if self.has_buttons:
                    self._joy.publish(Joy(axes=self.axes, buttons=self.buttons))
                self._twist.publish(self.twist)

    def _answer(self, what: str) -> Callable[[Any, Any], Any]:
        def answer(request: Any, response: Any) -> Any:
            self.asked.append(what)
            response.success, response.message = True, what
            return response

        return answer

    def _start(self, request: Start.Request, response: Start.Response) -> Start.Response:
        self.asked.append(f"start {request.owner}")
        self.say(RobotState.MODE_RUNNING, request.owner)
        response.success = True
        return response

    def _stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.asked.append("stop")
        self.say(RobotState.MODE_ARMED, reason="stopped by the operator")
        response.success = True
        return response

    def _end(self, request: EndEpisode.Request, response: EndEpisode.Response) -> EndEpisode.Response:
        self.asked.append(f"end {request.outcome}")
        response.success, response.message = True, "kept"
        return response


@pytest.fixture
def around(probe: Probe) -> Iterator[Surroundings]:
    around = Surroundings(probe)
    yield around
    around.close()


@contextmanager
def teleop(around: Surroundings, **parameters: object) -> Iterator[NodeProcess]:
    given = {"device": "joy", "hardware": "sim", "countdown_s": 0.2, "linear_m_s": 0.2, "dead_zone": 0.0, **parameters}
    with node_process("clar.nodes.teleop", given) as process:
        wait_for(lambda: around.statuses and around.statuses[-1].connected, "a connected device")
        yield process


def step(command: DeltaCommand) -> np.ndarray:
    return bridge.vector3_to_array(command.translation)


def test_the_gamepad_moves_the_arm_while_it_is_ours_and_each_step_names_an_observation(around: Surroundings) -> None:
    with teleop(around):
        around.axes[1] = 1.0
        around.hold()
        wait_for(lambda: around.statuses[-1].dead_man, "the dead-man to be seen")
        assert not around.commands, "no command while the arm is not ours"
        around.say(RobotState.MODE_RUNNING, "teleop")
        wait_for(lambda: len(around.commands) > 5, "commands")
        last = around.commands[-1]
        np.testing.assert_allclose(step(last), [0.02, 0, 0], atol=1e-9)
        assert (last.source, last.header.frame_id, last.gripper) == ("teleop", names.BASE_FRAME, 1.0)
        sequences = [c.sequence for c in around.commands]
        assert sequences == sorted(set(sequences))
        age_s = bridge.stamp_to_s(last.header.stamp) - bridge.stamp_to_s(last.observation_stamp)
        assert 0.0 <= age_s < 0.15
        around.say(RobotState.MODE_RUNNING, "policy", "policy took over from teleop")
        wait_for(lambda: around.statuses[-1].phase == "idle", "a status")


def test_steps_come_at_10_hz(around: Surroundings) -> None:
    with teleop(around):
        around.hold()
        around.say(RobotState.MODE_RUNNING, "teleop")
        wait_for(lambda: len(around.commands) > 30, "commands")
        stamps_s = [bridge.stamp_to_s(c.header.stamp) for c in around.commands]
        assert float(np.median(np.diff(stamps_s))) == pytest.approx(0.1, abs=0.01)


def test_a_six_axis_devices_twist_moves_and_its_silence_stops(around: Surroundings) -> None:
    around.has_buttons = False
    full = {"twist_full_linear": 0.5, "twist_full_angular": 1.0}
    with teleop(around, device="twist", angular_rad_s=0.4, device_timeout_s=0.3, **full):
        around.twist.twist.linear = Vector3(x=0.25, y=-0.5)
        around.twist.twist.angular = Vector3(z=1.0)
        around.say(RobotState.MODE_RUNNING, "teleop")
        wait_for(lambda: around.commands and step(around.commands[-1]).any(), "motion")
        np.testing.assert_allclose(step(around.commands[-1]), [0.01, -0.02, 0.0], atol=1e-9)
        np.testing.assert_allclose(bridge.vector3_to_array(around.commands[-1].rotation), [0.0, 0.0, 0.04], atol=1e-9)
        around.plugged = False
        wait_for(lambda: not around.statuses[-1].connected, "the loss to be told")
        wait_for(lambda: not step(around.commands[-1]).any(), "a step of zero")


def test_the_dead_man_let_go_is_a_step_of_zero_at_once(around: Surroundings) -> None:
    with teleop(around):
        around.axes[1] = 1.0
        around.hold()
        around.say(RobotState.MODE_RUNNING, "teleop")
        wait_for(lambda: around.commands and step(around.commands[-1]).any(), "motion")
        around.hold(False)
        wait_for(lambda: not step(around.commands[-1]).any(), "a step of zero")
        zero = next(c for c in reversed(around.commands) if not step(c).any())
        assert zero.gripper == 1.0


def test_a_lost_device_is_zero_twist_the_operator_hears_it_and_the_episode_ends(around: Surroundings) -> None:
    with teleop(around, device_timeout_s=0.3) as process:
        around.press("start", lambda: "start teleop" in around.asked, "START")
        around.axes[1] = 1.0
        around.hold()
        wait_for(lambda: around.commands and step(around.commands[-1]).any(), "motion")
        wait_for(lambda: around.statuses[-1].phase == "recording", "the episode")
        around.plugged = False
        wait_for(lambda: not around.statuses[-1].connected, "the loss to be told")
        wait_for(lambda: not step(around.commands[-1]).any(), "a step of zero")
        wait_for(lambda: "end 2" in around.asked, "the episode to end as a failure")
        assert "stop" in around.asked
        assert "device lost" in process.output


def test_buttons_record_an_episode_and_undo_it(around: Surroundings) -> None:
    with teleop(around):
        around.press("start", lambda: "start teleop" in around.asked, "START")
        assert around.asked == ["open_gripper", "home", "reset", "begin", "start teleop"]
        wait_for(lambda: around.statuses[-1].phase == "recording", "the episode")
        around.press("success", lambda: "end 1" in around.asked, "the end of the episode")
        assert set(around.asked[5:]) == {"stop", "end 1"}
        wait_for(lambda: "1 kept" in around.statuses[-1].prompt, "the count")
        around.press("undo", lambda: "undo_episode" in around.asked, "undo")
        wait_for(lambda: "0 kept" in around.statuses[-1].prompt, "the count")


def test_a_human_takes_over_from_the_policy_and_gives_back(around: Surroundings) -> None:
    with teleop(around):
        around.say(RobotState.MODE_RUNNING, "policy")
        around.press("take_over", lambda: "start teleop" in around.asked, "START")
        wait_for(lambda: around.commands, "commands")
        around.press("give_back", lambda: "start policy" in around.asked, "START")


def test_the_expert_is_refused_on_a_real_robot(ros_domain: int) -> None:
    with node_process("clar.nodes.teleop", {"device": "scripted", "hardware": "real"}) as process:
        assert process.wait_for_exit() == 1
        assert "reads the state of the simulated cell" in process.output
