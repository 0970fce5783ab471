"""Faults of whoever commands: the arm stops by itself, in time, with the limits that a robot has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from clar import bridge, names, qos
from clar.arm_settings import ArmParameters
from clar_core.control.gates import Gate
from clar_core.control.tracking import DEFAULT_TWIST_LIMITS
from clar_interfaces.msg import DeltaCommand
from tests.faults.contract import Entry
from tests.faults.rig import ARMED, DISARMED, HALTED, RUNNING, FaultRig, fault_rig
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.processes import Probe, script_process, wait_for

NAN = float("nan")
STRICT = {
    name: getattr(ArmParameters, name)
    for name in ("observation_drop_age_s", "observation_halt_age_s", "late_in_a_row_max", "leash_time_s")
}
"""The limits of a robot, where other tests are patient with busy machines."""
IDLE_S = 3.0


@pytest.fixture(scope="module")
def shared(ros_domain: int, tmp_path_factory: pytest.TempPathFactory, faults: list[Entry]) -> Iterator[FaultRig]:
    probe = Probe()
    folder = tmp_path_factory.mktemp("cell")
    parameters = {**STRICT, "required_gates": ["calibration"], "idle_disarm_s": IDLE_S, "silence_halt_s": 1.0}
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        fault_rig(probe, folder, address, faults, **parameters) as rig,
    ):
        set_gate(rig, Gate("calibration"))
        # A topic and a service keep no order between them: the arm may be asked before it has heard the gate.
        wait_for(lambda: rig.arm.trigger(names.SERVICE_ARM).success, "arming with open gates")
        rig.arm.trigger(names.SERVICE_DISARM)
        yield rig
    probe.close()


@pytest.fixture
def rig(shared: FaultRig) -> Iterator[FaultRig]:
    yield shared
    shared.restore()


def set_gate(rig: FaultRig, gate: Gate) -> None:
    node = rig.arm.probe.node
    if not hasattr(rig, "gates"):
        rig.gates = node.create_publisher(DiagnosticStatus, names.TOPIC_GATES, qos.LATCHED)
        wait_for(rig.gates.get_subscription_count, "the arm's subscription of gates")
    rig.gates.publish(bridge.gate_to_status(gate))


def send(rig: FaultRig, *, observed_ns: int | None = None, stamped_ns: int | None = None, **command: object) -> None:
    """One small step, with stamps of its own."""
    now_ns = time.time_ns()
    message = DeltaCommand(source="policy", sequence=now_ns // 1_000_000, gripper=1.0)
    message.header.frame_id = names.BASE_FRAME
    message.header.stamp = bridge.ns_to_stamp(stamped_ns or now_ns)
    message.observation_stamp = bridge.ns_to_stamp(observed_ns or now_ns)
    message.translation, message.rotation = bridge.vector3(rig.step()[:3]), bridge.vector3((0, 0, 0))
    rig.arm._publisher.publish(message)


def moving(rig: FaultRig) -> FaultRig:
    """RUNNING and moving by commands whose sequence counts on from ``send``'s."""
    rig.arm._sequence = time.time_ns() // 1_000_000 - 1_000_000
    return rig.run()


def test_an_action_that_is_not_finite_moves_nothing_and_three_halt(rig: FaultRig) -> None:
    rig.run()
    bad = (NAN, 0.0, 0.0, 0.0, 0.0, 0.0)
    stop = rig.time_to_rest(lambda: rig.arm.send(bad))
    assert rig.state.mode == RUNNING
    rig.enter(1, "one action with NaN, in motion", stop, response="dropped whole, velocity 0", within_s=0.4)
    rig.arm.drive(bad, 2)
    assert "3 invalid actions in a row" in rig.arm.wait_for_mode(HALTED).reason
    rig.enter(1, "three actions with NaN in a row")


def test_steps_beyond_the_limit_are_scaled_and_then_halt(rig: FaultRig) -> None:
    rig.run()
    step = (40 * rig.step()[0], 0.0, 0.0, 0.0, 0.0, 0.0)
    wait_for(lambda: rig.arm.drive(step, 1) or rig.state.mode == HALTED, "the halt")
    assert "were beyond the limits" in rig.state.reason
    assert rig.state.clamped_commands > 0
    fastest = max(float(np.linalg.norm(bridge.twist_to_array(s.commanded_twist)[:3])) for s in rig.arm.states)
    assert fastest <= DEFAULT_TWIST_LIMITS.linear_m_s + 1e-6
    wait_for(lambda: rig.robot.report().still_since_ns, "the arm at rest")
    response = f"scaled; HALTED: {rig.state.reason}"
    stop = rig.time_from_halt()
    rig.enter(2, "steps of 200 mm, 50 mm allowed; from HALTED", stop, response=response, within_s=0.4)


def test_observations_that_stop_coming_stop_the_arm(rig: FaultRig) -> None:
    moving(rig)
    observed_ns = time.time_ns()

    def go_on() -> None:
        send(rig, observed_ns=observed_ns)
        time.sleep(0.1)

    stop = rig.time_to_rest(lambda: None, go_on)
    rig.enter(5, "commands go on with one observation", stop, response="zero velocity", within_s=0.4)
    wait_for(lambda: go_on() or rig.state.mode == HALTED, "the halt")
    assert "the observation behind a command is" in rig.state.reason
    rig.enter(5, "the same, for longer")


def test_a_stamp_in_the_future_halts(rig: FaultRig) -> None:
    moving(rig)
    stop = rig.time_to_rest(lambda: send(rig, observed_ns=time.time_ns() + 200_000_000))
    assert "in the future" in rig.arm.wait_for_mode(HALTED).reason
    rig.enter(6, "an observation stamped 200 ms ahead", stop, within_s=0.4)


def test_late_commands_are_skipped_and_too_many_halt(rig: FaultRig) -> None:
    moving(rig)

    def late() -> None:
        send(rig, stamped_ns=time.time_ns() - 250_000_000)
        time.sleep(0.1)

    stop = rig.time_to_rest(lambda: None, late)
    wait_for(lambda: late() or rig.state.mode == HALTED, "the halt")
    assert "late commands in a row" in rig.state.reason
    rig.enter(16, "every command comes 250 ms late", stop, within_s=0.4)


@pytest.mark.parametrize(("row", "source"), [(11, "policy"), (18, "teleop")])
def test_killing_the_command_source_stops_the_arm_in_time(rig: FaultRig, row: int, source: str) -> None:
    step_m = str(rig.step()[0])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ros.commander", source, step_m], stdout=subprocess.PIPE, text=True
    ) as commander:
        try:
            commander.stdout.readline()
            rig.arm.start(source)
            wait_for(lambda: rig.robot.report().still_since_ns == 0, "the arm moving")
            stop = rig.time_to_rest(lambda: commander.send_signal(signal.SIGKILL))
        finally:
            commander.kill()
    assert f"no usable command came from '{source}'" in rig.arm.wait_for_mode(HALTED).reason
    rig.enter(row, f"kill -9 of the source {source!r}", stop, within_s=0.4)


def test_a_second_source_is_ignored_until_it_takes_over(rig: FaultRig) -> None:
    rig.run("policy")
    stop = rig.time_to_rest(lambda: None, lambda: rig.arm.drive(rig.step(), 1, source="teleop"))
    assert rig.state.owner == "policy"
    rig.enter(17, "only another source commands", stop, response="ignored, zero velocity", within_s=0.4)
    rig.arm.take("teleop")
    wait_for(lambda: rig.state.owner == "teleop", "the new owner")
    rig.enter(17, "START for another source")
    rig.drive_until(lambda: rig.robot.report().still_since_ns == 0, source="teleop")


def test_a_gate_that_closes_halts_and_one_that_is_silent_refuses(rig: FaultRig) -> None:
    rig.run()
    closed = Gate("scene", "the camera moved by 8 mm: calibrate again")
    stop = rig.time_to_rest(lambda: set_gate(rig, closed), lambda: rig.arm.drive(rig.step(), 1))
    rig.halted("the camera moved by 8 mm")
    rig.enter(9, "the scene check says that the camera moved", stop, within_s=0.4)
    rig.arm.trigger(names.SERVICE_RECOVER)
    refused = rig.arm.trigger(names.SERVICE_ARM)
    assert not refused.success
    assert "the camera moved by 8 mm" in refused.message
    set_gate(rig, Gate("scene"))
    wait_for(lambda: rig.arm.trigger(names.SERVICE_ARM).success, "arming with open gates")


def test_an_armed_arm_that_nobody_starts_disarms_itself(rig: FaultRig) -> None:
    rig.arm.arm()
    rig.arm.wait_for_mode(ARMED)
    assert rig.arm.wait_for_mode(DISARMED).reason == f"armed and idle for {IDLE_S:g} s"
    rig.enter(22, f"ARMED and untouched for {IDLE_S:g} s (60 s by default)")


LISTENER = """
import rclpy
from clar import names, qos
from clar_interfaces.msg import RobotState, StageTimings
rclpy.init()
node = rclpy.create_node("listener")
said = []
def hear(_):
    if not said:
        said.append(print("heard", flush=True))
node.create_subscription(RobotState, names.TOPIC_ROBOT_STATE, hear, qos.STATE)
node.create_subscription(StageTimings, names.TOPIC_TIMINGS, lambda _: None, qos.STATUS)
rclpy.spin(node)
"""


def test_a_frozen_listener_does_not_hold_the_arm_up(rig: FaultRig) -> None:
    with script_process(LISTENER) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "heard\n"
        rig.run()
        count = len(rig.arm.states)
        for _ in range(5):
            listener.send_signal(signal.SIGSTOP)
            rig.arm.drive(rig.step(), 3)
            listener.send_signal(signal.SIGCONT)
            assert rig.state.mode == RUNNING, rig.state.reason
        heard = len(rig.arm.states) - count
    assert heard > 15, "far fewer states than a busy machine gives in 1.5 s"
    rig.enter(27, "a listener frozen five times for 0.3 s, in motion", response="RUNNING: the arm goes on")
