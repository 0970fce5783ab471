"""The arm node against an unmodified franky and a simulated FR3: who may move it, and that it stops."""

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from clar import bridge, names, qos
from clar_interfaces.msg import RobotState, StageTimings
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.arm_rig import ArmRig, arm_rig
from tests.ros.processes import Probe, wait_for

DISARMED, ARMED, RUNNING, HALTED = range(4)
FORWARD = (0.01, 0.0, 0.0, 0.0, 0.0, 0.0)
BACK = (-0.01, 0.0, 0.0, 0.0, 0.0, 0.0)
STAY = (0.0,) * 6


@pytest.fixture(scope="module")
def shared(ros_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmRig]:
    probe = Probe()
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        arm_rig(probe, tmp_path_factory.mktemp("cell"), address, home_speed=0.05, silence_halt_s=3.0) as rig,
    ):
        yield rig
    probe.close()


@pytest.fixture
def rig(shared: ArmRig) -> Iterator[ArmRig]:
    """The shared arm, DISARMED, near the middle of its box."""
    yield shared
    shared.trigger(names.SERVICE_STOP)
    shared.trigger(names.SERVICE_RECOVER)
    shared.trigger(names.SERVICE_DISARM)


def go_to_x(rig: ArmRig, x_m: float) -> None:
    """Drive along x to a place and leave the arm RUNNING there, standing still."""
    rig.start()
    while abs(x_m - rig.pose[0, 3]) > 2e-3:
        commanded_m = bridge.pose_to_matrix(rig.state.commanded_pose)[0, 3]
        follows = abs(commanded_m - rig.pose[0, 3]) < 5e-3
        step = float(np.clip(x_m - commanded_m, -0.015, 0.015)) if follows else 0.0
        rig.drive((step, 0, 0, 0, 0, 0), 1)
        assert rig.state.mode == RUNNING, rig.state.reason


def test_it_ends_active_and_disarmed_and_streams_its_state(rig: ArmRig) -> None:
    joints = rig.probe.collect(JointState, names.TOPIC_JOINT_STATES, qos.STATE)
    transforms = rig.probe.collect(TFMessage, names.TOPIC_TF, qos.STATE)
    modes = rig.probe.collect(RobotState, names.TOPIC_ROBOT_MODE, qos.LATCHED)
    wait_for(lambda: joints and transforms and modes, "joint states, TF and the latched mode")
    assert modes[-1].mode == DISARMED
    assert joints[-1].name[0] == "fr3_joint1"
    assert len(joints[-1].position) == 9
    transform = transforms[-1].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == (names.BASE_FRAME, names.TCP_FRAME)
    assert bridge.transform_to_matrix(transform.transform) == pytest.approx(rig.pose, abs=2e-3)
    count, start_s = len(rig.states), time.monotonic()
    time.sleep(2.0)
    assert len(rig.states) - count > 30 * (time.monotonic() - start_s), "far from 100 Hz, even for a busy machine"


def test_it_shares_no_memory_with_listeners_that_could_freeze(rig: ArmRig) -> None:
    assert "/dev/shm/fastrtps_" not in Path(f"/proc/{rig.node.process.pid}/maps").read_text()


def test_commands_move_nothing_before_arm_and_start(rig: ArmRig) -> None:
    before = rig.pose
    rig.drive(FORWARD, 3)
    assert rig.pose == pytest.approx(before, abs=1e-3)
    rig.arm()
    rig.drive(FORWARD, 3)
    assert rig.pose == pytest.approx(before, abs=1e-3)
    assert rig.state.mode == ARMED


def test_a_steady_stream_is_followed_closely_and_reached_exactly(rig: ArmRig) -> None:
    go_to_x(rig, 0.50)
    timings = rig.probe.collect(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
    T_start, count = bridge.pose_to_matrix(rig.state.commanded_pose), len(rig.states)
    rig.drive(FORWARD, 10)
    rig.drive(STAY, 8)
    assert rig.state.mode == RUNNING, rig.state.reason
    T_commanded = bridge.pose_to_matrix(rig.state.commanded_pose)
    assert T_commanded[0, 3] - T_start[0, 3] > 0.02
    if rig.robot.real_time_factor > 0.8:
        assert T_commanded[0, 3] - T_start[0, 3] == pytest.approx(0.1, abs=1e-3)
        assert rig.pose[:3, 3] == pytest.approx(T_commanded[:3, 3], abs=1e-3)
        behind = [
            np.linalg.norm(
                bridge.pose_to_matrix(s.commanded_pose)[:3, 3] - bridge.pose_to_matrix(s.measured_pose)[:3, 3]
            )
            for s in rig.states[count:]
        ]
        assert max(behind) < 0.010 + 0.010, "a step ahead and 10 mm of lag"
    assert timings[-1].node == "arm"
    assert list(timings[-1].stages) == ["transport", "accept", "capture_to_arm"]


def test_only_the_owner_is_heard(rig: ArmRig) -> None:
    rig.start("policy")
    before = rig.pose
    for _ in range(3):
        rig.send(FORWARD, source="teleop")
        rig.drive(STAY, 1)
    assert rig.pose == pytest.approx(before, abs=1e-3)
    assert rig.state.rejected_commands == 0
    assert "took over from policy" in rig.take("teleop").message
    wait_for(lambda: rig.state.owner == "teleop", "the new owner in the state")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_action_that_is_not_finite_moves_nothing_and_three_halt(rig: ArmRig, bad: float) -> None:
    rig.start()
    before = rig.pose
    rig.drive((0.05, 0, 0, 0, 0, bad), 3)
    state = rig.wait_for_mode(HALTED)
    assert "3 invalid actions in a row" in state.reason
    assert rig.pose == pytest.approx(before, abs=1e-3)
    assert not rig.trigger(names.SERVICE_ARM).success
    assert rig.trigger(names.SERVICE_RECOVER).success


def test_the_arm_never_leaves_its_motion_box_and_halts_when_it_is_asked_to(rig: ArmRig) -> None:
    go_to_x(rig, 0.38)
    count = len(rig.states)
    for _ in range(15):
        rig.drive((-0.015, 0, 0, 0, 0, 0), 1)
        if rig.state.mode == HALTED:
            break
    assert "motion_box" in rig.wait_for_mode(HALTED).reason
    assert min(bridge.pose_to_matrix(state.commanded_pose)[0, 3] for state in rig.states[count:]) > 0.35 - 2e-3
    assert min(bridge.pose_to_matrix(state.measured_pose)[0, 3] for state in rig.states[count:]) > 0.35 - 5e-3
    assert rig.state.clamped_commands > 0


def test_stop_ramps_down_keeps_the_grip_and_stays_armed(rig: ArmRig) -> None:
    go_to_x(rig, 0.45)
    rig.drive(FORWARD, 4, gripper=0.0)
    assert rig.trigger(names.SERVICE_STOP).success
    rig.wait_for_mode(ARMED)
    wait_for(lambda: rig.speed() < 2e-3, "the arm at rest")
    assert rig.state.reason == "stopped by the operator"
    assert rig.state.gripper_target == 0.0
    wait_for(lambda: rig.state.gripper_width < 0.01, "closed fingers")
    assert rig.trigger(names.SERVICE_OPEN_GRIPPER).success
    assert rig.state.gripper_width > 0.07


def test_stop_answers_while_the_robot_hangs(rig: ArmRig) -> None:
    rig.arm()
    rig.robot.freeze()
    waiting = threading.Thread(target=rig.trigger, args=(names.SERVICE_HOME,), daemon=True)
    try:
        waiting.start()
        client = rig.probe.node.create_client(Trigger, names.SERVICE_STOP)
        assert client.wait_for_service(10.0)
        delays_ms = []
        for _ in range(5):
            start_s = time.monotonic()
            answer = client.call_async(Trigger.Request())
            wait_for(answer.done, "an answer to STOP", 10.0)
            delays_ms.append((time.monotonic() - start_s) * 1e3)
        assert "clar recover" in rig.wait_for_mode(HALTED).reason
    finally:
        rig.robot.thaw()
    assert sorted(delays_ms)[2] < 100.0, delays_ms
    waiting.join(30.0)
    wait_for(lambda: rig.trigger(names.SERVICE_RECOVER).success, "recovery from the hanging robot")


def test_killing_the_command_source_stops_the_arm_within_400_ms(rig: ArmRig) -> None:
    go_to_x(rig, 0.42)
    commander = subprocess.Popen(
        [sys.executable, "-m", "tests.ros.commander", "policy", "0.01"], stdout=subprocess.PIPE, text=True
    )
    try:
        commander.stdout.readline()
        rig.start()
        wait_for(lambda: rig.pose[0, 3] > 0.46, "the arm moving")
        killed_ns = time.time_ns()
        commander.send_signal(signal.SIGKILL)
        commander.wait()
    finally:
        commander.kill()
    wait_for(lambda: len(rig.since(killed_ns)) > 20, "states after the kill")
    wait_for(lambda: rig.speed() < 2e-3, "the arm at rest", 10.0)
    stopped_ns = next(
        bridge.stamp_to_ns(state.header.stamp) for state in rig.since(killed_ns) if rig.speed(state) < 2e-3
    )
    allowed_s = 0.4 / min(1.0, rig.robot.real_time_factor)
    assert (stopped_ns - killed_ns) * 1e-9 < allowed_s
    assert "no usable command came from 'policy'" in rig.wait_for_mode(HALTED).reason


def test_home_is_slow_explicit_and_only_while_armed(rig: ArmRig) -> None:
    refused = rig.trigger(names.SERVICE_HOME)
    assert not refused.success
    assert "clar arm" in refused.message
    rig.arm()
    joints = rig.probe.collect(JointState, names.TOPIC_JOINT_STATES, qos.STATE)
    assert rig.trigger(names.SERVICE_HOME).success
    wait_for(lambda: joints, "joint states")
    assert joints[-1].position[0] == pytest.approx(0.1, abs=0.02)
    assert rig.state.mode == ARMED


def test_stop_ends_the_way_home(rig: ArmRig) -> None:
    go_to_x(rig, 0.45)
    rig.trigger(names.SERVICE_STOP)
    wait_for(lambda: rig.state.mode == ARMED and rig.state.robot_mode != "Move", "the end of the way here")
    answers: list[Trigger.Response] = []
    thread = threading.Thread(target=lambda: answers.append(rig.trigger(names.SERVICE_HOME)))
    thread.start()
    wait_for(lambda: rig.state.robot_mode == "Move" and rig.speed() > 5e-3, "the way home")
    rig.trigger(names.SERVICE_STOP)
    thread.join(60.0)
    assert not answers[0].success
    assert "the way home was stopped" in answers[0].message
