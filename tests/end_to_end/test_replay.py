"""`clar data replay` on the simulated arm, through its supervisor: it follows, and whoever stops the arm stops it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clar import names, operate, qos
from clar_core.data.replay import read_motion
from clar_interfaces.msg import RobotState
from tests.core.data.recorded_episode import Recipe, record
from tests.end_to_end.launched import position, ready
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.processes import Probe, wait_for

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(400)]

FOLLOWED_M = 0.02
"""A step is executed within the 100 ms after it, so the arm trails the recording by a step or two of 6 mm."""


@pytest.fixture(scope="module")
def probe(ros_domain: int) -> Iterator[Probe]:
    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture(scope="module")
def states(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RobotState]]:
    """The arm's states, from a recording stack without an operator's node."""
    states = probe.collect(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
    with lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address:
        arguments = ("teleop:=none", f"robot_ip:={address}")
        with ready(probe, tmp_path_factory.mktemp("stack"), *arguments, file="record.launch.py"):
            wait_for(lambda: states, "the arm's state")
            yield states


def episode(folder: Path, ticks: int) -> Path:
    """A recorded episode: to one side and down, back and forth, the gripper open."""
    actions = np.zeros((ticks, 7))
    swing = np.where(np.arange(ticks) % 20 < 10, 1.0, -1.0)
    actions[:, 1], actions[:, 2], actions[:, 6] = 0.006 * swing, -0.003 * swing, 1.0
    return record(folder, Recipe(actions=actions, ticks=ticks))


def arm(states: list[RobotState]) -> None:
    if states[-1].mode != RobotState.MODE_ARMED:
        assert operate.main(["arm"]) == 0
        wait_for(lambda: states[-1].mode == RobotState.MODE_ARMED, "the arm to be ARMED")


def replay(bag: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "clar.replay", str(bag), "--hardware", "sim", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_replaying(state: RobotState) -> bool:
    return state.mode == RobotState.MODE_RUNNING and state.owner == names.SOURCE_REPLAY


def commanded_speed(state: RobotState) -> float:
    t = state.commanded_twist.linear
    return float(np.linalg.norm((t.x, t.y, t.z)))


def test_a_disarmed_arm_is_not_moved_and_it_is_said_how_to_arm(states: list[RobotState], tmp_path: Path) -> None:
    before = position(states[-1])
    process = replay(episode(tmp_path, 20))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the arm is DISARMED: clar arm" in said
    assert np.linalg.norm(position(states[-1]) - before) < 1e-3


def test_the_arm_follows_the_recording_and_is_ours_no_more_at_its_end(states: list[RobotState], tmp_path: Path) -> None:
    bag = episode(tmp_path, 30)
    motion = read_motion(bag)
    arm(states)
    first = len(states)
    process = replay(bag)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, said + errors
    assert "replayed: " in said
    wait_for(lambda: states[-1].mode == RobotState.MODE_ARMED, "the arm to be free again")
    path = np.array([position(state) for state in states[first:] if is_replaying(state)])
    for T in motion.T_recorded:
        assert np.linalg.norm(path - T[:3, 3], axis=1).min() < FOLLOWED_M
    at_most_mm = float(said.split("on average, ")[1].split(" mm at most")[0])
    assert at_most_mm < FOLLOWED_M * 1e3


@pytest.mark.parametrize(("command", "mode"), [("stop", RobotState.MODE_ARMED), ("disarm", RobotState.MODE_DISARMED)])
def test_stop_and_disarm_end_a_replay_in_its_midst(
    states: list[RobotState], tmp_path: Path, command: str, mode: int
) -> None:
    arm(states)
    process = replay(episode(tmp_path, 200), "--no-home")
    try:
        wait_for(lambda: is_replaying(states[-1]) and commanded_speed(states[-1]) > 0.02, "the replay to move the arm")
        assert operate.main([command]) == 0
        wait_for(lambda: states[-1].mode == mode and commanded_speed(states[-1]) == 0.0, "the arm to stand", 5.0)
        stood = position(states[-1])
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "the arm stopped" in said
        wait_for(lambda: states[-1].mode != RobotState.MODE_RUNNING, "the arm to be free")
        assert np.linalg.norm(position(states[-1]) - stood) < 0.005
    finally:
        process.kill()
        process.wait()
