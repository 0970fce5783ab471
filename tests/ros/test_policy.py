"""The policy node with a small random network, fed with clouds and robot states from the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String

from clar import bridge, names, qos
from clar_core.geometry.poses import make_pose
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.runtime import PolicyRuntime
from clar_core.training.checkpoints import save_checkpoint
from clar_interfaces.msg import DeltaCommand, PolicyTick, RobotState, StageTimings
from tests.core.training.policies import image_checkpoint
from tests.ros.checkpoint import write_checkpoint
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

SPEC = ObservationSpec()
POSE = make_pose(np.diag([1.0, -1.0, -1.0]), (0.45, 0.0, 0.3))
WIDTH_M = 0.06


class Inputs:
    """Publishes clouds at 30 Hz and robot states at 100 Hz from a thread.

    Attributes:
        age_s: how far behind the clock the clouds' stamps are.
        states: whether robot states are published.
        mode, T_base_tcp: of the arm.
    """

    def __init__(self, probe: Probe, spec: ObservationSpec | None = SPEC) -> None:
        self.age_s = 0.0
        self.states = True
        self.mode, self.T_base_tcp = RobotState.MODE_DISARMED, POSE
        rng = np.random.default_rng(0)
        self.cloud = rng.uniform(SPEC.crop_min_m, SPEC.crop_max_m, (3000, 3)).astype(np.float32)
        node = probe.node
        self._clouds = node.create_publisher(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR_PUBLISHER)
        self._states = node.create_publisher(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE)
        self._spec = node.create_publisher(String, names.TOPIC_CLOUD_SPEC, qos.LATCHED)
        if spec is not None:
            self.tell(spec)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, spec: ObservationSpec) -> None:
        self._spec.publish(String(data=json.dumps(spec.to_dict())))

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        ticks = 0
        with suppress(Exception):  # the context may end first
            while not self._ending.wait(0.01):
                now_ns = time.time_ns()
                if self.states:
                    state = RobotState(
                        mode=self.mode, measured_pose=bridge.matrix_to_pose(self.T_base_tcp), gripper_width=WIDTH_M
                    )
                    state.header = Header(stamp=bridge.ns_to_stamp(now_ns), frame_id=names.BASE_FRAME)
                    self._states.publish(state)
                if ticks % 3 == 0:
                    stamp = bridge.ns_to_stamp(now_ns - int((self.age_s + 0.005) * 1e9))
                    header = Header(stamp=stamp, frame_id=names.BASE_FRAME)
                    self._clouds.publish(bridge.points_to_cloud(self.cloud, header))
                ticks += 1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "policy")


@pytest.fixture
def inputs(probe: Probe) -> Iterator[Inputs]:
    inputs = Inputs(probe)
    yield inputs
    inputs.stop()


@pytest.fixture
def policy_node(checkpoint: Path, inputs: Inputs) -> Iterator[NodeProcess]:
    parameters = {"checkpoint": str(checkpoint), "autostart": True, "device": "cpu"}
    with node_process("clar.nodes.policy", parameters) as process:
        yield process


def test_commands_are_the_runtimes_actions_and_name_their_observation(
    probe: Probe, inputs: Inputs, policy_node: NodeProcess, checkpoint: Path
) -> None:
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    timings = probe.collect(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
    wait_for(lambda: len(commands) >= 5 and timings, "five commands")
    runtime = PolicyRuntime.load(checkpoint, device="cpu", dtype="float32")
    expected = runtime.act(inputs.cloud, proprioception(POSE, WIDTH_M, SPEC), None).action.to_array()
    for command in commands:
        np.testing.assert_allclose(bridge.command_to_action(command).to_array(), expected, atol=2e-4)
        assert (command.source, command.header.frame_id) == ("policy", "fr3_link0")
        age_ns = bridge.stamp_to_ns(command.header.stamp) - bridge.stamp_to_ns(command.observation_stamp)
        assert 0 < age_ns < 1_000_000_000
    sequences = [command.sequence for command in commands]
    assert sequences == sorted(set(sequences))
    served = {tick.sequence: tick for tick in ticks if not tick.skipped}
    tick = wait_for(lambda: served.get(commands[0].sequence), "the tick of the first command")
    assert tick.observation_stamp == commands[0].observation_stamp
    assert tick.command_stamp == commands[0].header.stamp
    assert set(timings[0].stages) == {"fps", "encode", "postprocess"}


def test_ticks_keep_the_beat_whether_or_not_a_command_comes_of_them(
    probe: Probe, inputs: Inputs, policy_node: NodeProcess
) -> None:
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    wait_for(lambda: len(ticks) >= 5, "ticks")
    inputs.age_s = 0.5
    wait_for(lambda: ticks and "old" in ticks[-1].skipped, "a skipped tick")
    wait_for(lambda: len(ticks) >= 20, "twenty ticks")
    stamps_s = np.array([bridge.stamp_to_ns(tick.header.stamp) for tick in ticks]) * 1e-9
    np.testing.assert_allclose(np.diff(stamps_s), 0.1, atol=0.01)


@pytest.mark.parametrize(("age_s", "reason"), [(0.4, "ms old, expected at most 150 ms"), (-0.2, "in the future")])
def test_an_untimely_observation_gives_no_command_and_a_reason(
    probe: Probe, inputs: Inputs, policy_node: NodeProcess, age_s: float, reason: str
) -> None:
    inputs.age_s = age_s
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    wait_for(lambda: sum(reason in tick.skipped for tick in ticks) >= 3, f"ticks skipped because {reason}")
    assert not commands
    assert all(tick.sequence == 0 and not tick.on_time for tick in ticks)


def test_an_observation_without_a_robot_state_around_it_gives_no_command(
    probe: Probe, inputs: Inputs, policy_node: NodeProcess
) -> None:
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    wait_for(lambda: commands, "a command")
    inputs.states = False
    wait_for(lambda: ticks and "no robot state" in ticks[-1].skipped, "a tick skipped for want of a robot state")


def test_a_tick_waits_for_the_state_that_follows_the_capture(
    probe: Probe, inputs: Inputs, policy_node: NodeProcess
) -> None:
    inputs.age_s = -0.015  # captured 10 ms from now: the state before it is there, the one after it is not
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    wait_for(lambda: sum(not tick.skipped for tick in ticks) >= 10, "ten commands")
    assert not any("no robot state" in tick.skipped or "none around" in tick.skipped for tick in ticks)


def test_a_tick_just_before_a_cloud_takes_that_cloud(probe: Probe, inputs: Inputs, policy_node: NodeProcess) -> None:
    """The clouds come a little less often than every third of a tick, so that each phase comes by."""
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)

    def took_what_came_after_it() -> bool:
        published_ns = [bridge.stamp_to_ns(tick.observation_stamp) + 5_000_000 for tick in ticks]
        due_ns = [bridge.stamp_to_ns(tick.header.stamp) for tick in ticks]
        return any(p > d for p, d, t in zip(published_ns, due_ns, ticks, strict=True) if t.on_time)

    wait_for(took_what_came_after_it, "a tick that took a cloud which came after it")


def test_what_was_seen_before_start_is_forgotten_at_start(probe: Probe, inputs: Inputs, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "policy", history=2)
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    T_after = POSE @ make_pose(None, (0.0, 0.2, -0.2))
    runtime = PolicyRuntime.load(checkpoint, device="cpu", dtype="float32")
    before, after = proprioception(POSE, WIDTH_M, SPEC), proprioception(T_after, WIDTH_M, SPEC)
    runtime.act(inputs.cloud, before)
    remembering = runtime.act(inputs.cloud, after).action.to_array()
    runtime.reset()
    afresh = runtime.act(inputs.cloud, after).action.to_array()
    with node_process("clar.nodes.policy", {"checkpoint": str(checkpoint), "autostart": True, "device": "cpu"}):
        wait_for(lambda: len(commands) >= 3, "commands")
        inputs.age_s = 0.5  # nothing new is seen while the trial begins
        wait_for(lambda: ticks and "old" in ticks[-1].skipped, "a skipped tick")
        inputs.mode, inputs.T_base_tcp = RobotState.MODE_RUNNING, T_after
        ticked = len(ticks)
        wait_for(lambda: len(ticks) >= ticked + 3, "ticks while RUNNING")
        count = len(commands)
        inputs.age_s = 0.0
        first = wait_for(lambda: len(commands) > count and commands[count], "the first command of the trial")
    acted = bridge.command_to_action(first).to_array()
    assert np.linalg.norm(acted - afresh) < 0.3 * np.linalg.norm(acted - remembering), (acted, afresh, remembering)


def test_a_policy_that_samples_plans_begins_a_trial_as_its_runtime_does(
    probe: Probe, inputs: Inputs, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "policy", encoder="dp3_diffusion")
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    runtime = PolicyRuntime.load(checkpoint, device="cpu", dtype="float32")
    state = proprioception(POSE, WIDTH_M, SPEC)
    expected = [runtime.act(inputs.cloud, state).action.to_array() for _ in range(3)]
    with node_process("clar.nodes.policy", {"checkpoint": str(checkpoint), "autostart": True, "device": "cpu"}):
        wait_for(lambda: commands, "a command")
        inputs.age_s = 0.5
        wait_for(lambda: ticks and "old" in ticks[-1].skipped, "a skipped tick")
        inputs.mode = RobotState.MODE_RUNNING
        ticked = len(ticks)
        wait_for(lambda: len(ticks) >= ticked + 3, "ticks while RUNNING")
        count = len(commands)
        inputs.age_s = 0.0
        wait_for(lambda: len(commands) >= count + 3, "the first commands of the trial")
    acted = [bridge.command_to_action(command).to_array() for command in commands[count : count + 3]]
    np.testing.assert_allclose(acted, expected, atol=2e-4)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3, "the actions of a plan differ"


def test_a_policy_that_sees_images_is_refused_by_what_it_lacks_here(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "policy", image_checkpoint())
    with node_process("clar.nodes.policy", {"checkpoint": str(tmp_path / "policy"), "autostart": True}) as process:
        assert process.wait_for_exit() == 1
        assert "sees colour images of 32 pixels, and this node gives it clouds only" in process.output
        assert "Traceback" not in process.output


def test_a_cloud_node_with_another_spec_is_refused_by_field(probe: Probe, checkpoint: Path) -> None:
    inputs = Inputs(probe, replace(SPEC, crop_max_m=(0.85, 0.45, 0.5)))
    try:
        parameters = {"checkpoint": str(checkpoint), "autostart": True}
        with node_process("clar.nodes.policy", parameters) as process:
            assert process.wait_for_exit() == 1
            assert "crop_max_m: (0.85, 0.45, 0.6), (0.85, 0.45, 0.5)" in process.output
    finally:
        inputs.stop()


def test_a_spec_that_comes_after_the_clouds_is_waited_for(probe: Probe, checkpoint: Path) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    waiting = f"waiting for an observation spec on {names.TOPIC_CLOUD_SPEC}"
    inputs = Inputs(probe, None)
    try:
        with node_process("clar.nodes.policy", {"checkpoint": str(checkpoint), "autostart": True, "device": "cpu"}):
            wait_for(lambda: any(m.status[0].message == waiting for m in diagnostics), "the spec to be all that lacks")
            assert not commands
            inputs.tell(SPEC)
            wait_for(lambda: commands, "a command")
    finally:
        inputs.stop()


def test_without_inputs_the_node_waits_inactive(probe: Probe, checkpoint: Path) -> None:
    ticks = probe.collect(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
    with node_process("clar.nodes.policy", {"checkpoint": str(checkpoint), "autostart": True}) as process:
        process.wait_for_output("loaded and warmed up")
        assert process.interrupt() == 0
        assert not ticks


def test_a_truncated_checkpoint_is_refused_by_file(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "policy")
    model = directory / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    with node_process("clar.nodes.policy", {"checkpoint": str(directory), "autostart": True}) as process:
        assert process.wait_for_exit() == 1
        assert "model.safetensors" in process.output
        assert "Traceback" not in process.output
