"""The whole stack from its launch file: up and DISARMED, the arm moved from images, and down again whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clar import names, operate, qos
from clar_interfaces.msg import RobotState
from tests.end_to_end.launched import Launch, position, ready
from tests.ros.checkpoint import write_checkpoint
from tests.ros.processes import Probe, wait_for

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def stack(probe: Probe, tmp_path: Path, fci_address: str) -> Iterator[Launch]:
    write_checkpoint(tmp_path / "policy")
    arguments = ("checkpoint:=policy", "device:=cpu", f"robot_ip:={fci_address}")
    with ready(probe, tmp_path, *arguments) as launch:
        yield launch


def test_arm_and_start_move_the_arm_from_images_and_ctrl_c_leaves_no_process(probe: Probe, stack: Launch) -> None:
    states = probe.collect(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
    wait_for(lambda: states, "the arm's state")
    start = position(states[-1])
    assert states[-1].mode == RobotState.MODE_DISARMED
    assert operate.main(["start", "policy"]) == 1, "START must be refused while DISARMED"
    assert operate.main(["arm"]) == 0
    assert operate.main(["start", "policy"]) == 0
    wait_for(lambda: np.linalg.norm(position(states[-1]) - start) > 0.005, "the arm to move by 5 mm")
    assert operate.main(["stop"]) == 0
    assert operate.main(["status"]) == 0
    started = stack.processes()
    assert len(started) >= 7
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(30.0) == 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all processes to be gone", 5.0)
    assert "Traceback" not in stack.log.read_text()


def test_kill_9_of_the_policy_stops_the_arm_and_the_policy_comes_back(probe: Probe, stack: Launch) -> None:
    states = probe.collect(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
    assert operate.main(["arm"]) == 0
    assert operate.main(["start", "policy"]) == 0

    def speed(state: RobotState) -> float:
        t = state.commanded_twist.linear
        return float(np.linalg.norm((t.x, t.y, t.z)))

    wait_for(lambda: states and speed(states[-1]) > 0.003, "the arm to move")
    os.kill(stack.pid_of("policy"), signal.SIGKILL)
    killed_s = time.time()
    wait_for(lambda: speed(states[-1]) == 0.0, "zero commanded velocity", 5.0)
    stopped_s = next(
        s
        for state in states
        if (s := state.header.stamp.sec + state.header.stamp.nanosec * 1e-9) > killed_s and speed(state) == 0.0
    )
    assert stopped_s - killed_s < 0.4
    wait_for(lambda: "came back after an unexpected end" in stack.log.read_text(), "the policy to come back")
    wait_for(lambda: states[-1].mode != RobotState.MODE_RUNNING, "the arm to leave RUNNING by itself")
