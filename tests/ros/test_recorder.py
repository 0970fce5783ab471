"""The recorder in a process of its own, fed by publishers of the test."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from clar import bridge, names, qos
from clar_core.data.bag_recovery import recover_bag
from clar_core.data.bags import BagError, BagReader
from clar_interfaces.msg import Episode, RobotState
from clar_interfaces.srv import EndEpisode, StartEpisode
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(300, 2000, (480, 640)).astype(np.uint16)
SUCCESS, FAILURE, DISCARD = 1, 2, 3


class Robot:
    """Depth images at 30 Hz and robot states at 100 Hz from a thread, numbered by their stamps, a static transform."""

    def __init__(self, probe: Probe) -> None:
        self.images = self.states = 0
        node = probe.node
        self._image = node.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR_PUBLISHER)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._state = node.create_publisher(RobotState, names.TOPIC_ROBOT_STATE, best_effort)
        self._calibration = node.create_publisher(String, names.TOPIC_CALIBRATION, qos.LATCHED)
        self._calibration.publish(String(data="abc123"))
        self._static = node.create_publisher(TFMessage, names.TOPIC_TF_STATIC, qos.LATCHED)
        transform = TransformStamped(child_frame_id=names.CAMERA_FRAME)
        transform.header.frame_id = names.BASE_FRAME
        self._static.publish(TFMessage(transforms=[transform]))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        with suppress(RuntimeError):
            self._thread.join()

    def _run(self) -> None:
        tick = 0
        while not self._end.wait(0.01):
            self._state.publish(RobotState(header=Header(stamp=bridge.ns_to_stamp(self.states))))
            self.states += 1
            if tick % 3 == 0:
                header = Header(stamp=bridge.ns_to_stamp(self.images), frame_id=names.DEPTH_OPTICAL_FRAME)
                self._image.publish(bridge.array_to_image(PIXELS, "16UC1", header))
                self.images += 1
            tick += 1


@pytest.fixture
def robot(probe: Probe) -> Iterator[Robot]:
    robot = Robot(probe)
    yield robot
    robot.stop()


@contextmanager
def recorder(folder: Path, **parameters: object) -> Iterator[NodeProcess]:
    given = {"directory": str(folder), "autostart": True, "min_free_mb": 0, "diagnostics_period_s": 0.2, **parameters}
    with node_process("clar.nodes.recorder", given) as process:
        yield process


def start(probe: Probe, task: str = "open_drawer") -> StartEpisode.Response:
    request = StartEpisode.Request(task=task, instruction="open the drawer", source="policy", seed=7)
    return probe.call(StartEpisode, names.SERVICE_START_EPISODE, request)


def end(probe: Probe, outcome: int) -> EndEpisode.Response:
    return probe.call(EndEpisode, names.SERVICE_END_EPISODE, EndEpisode.Request(outcome=outcome))


def health(probe: Probe) -> Callable[[], DiagnosticStatus | None]:
    """The recorder's newest word about itself."""
    received: list[DiagnosticArray] = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)

    def newest() -> DiagnosticStatus | None:
        return next((s for d in reversed(received) for s in d.status if s.name == names.NODE_RECORDER), None)

    return newest


def recorded(newest: Callable[[], DiagnosticStatus | None], topic: str) -> bool:
    """Whether messages of a topic are coming in."""
    status = newest()
    rates = {} if status is None else {value.key: value.value for value in status.values}
    return float(rates.get(f"{topic} [Hz]", 0)) > 0


def hears_calibration(newest: Callable[[], DiagnosticStatus | None], name: str) -> bool:
    status = newest()
    return status is not None and any((v.key, v.value) == ("calibration_hash", name) for v in status.values)


def stamps(bag: BagReader, topic: str) -> list[int]:
    return [bridge.stamp_to_ns(m.message.header.stamp) for m in bag.messages([topic])]


def is_consecutive(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_an_episode_holds_every_message_and_what_was_latched_before_it(
    probe: Probe, robot: Robot, tmp_path: Path
) -> None:
    newest = health(probe)
    episodes = probe.collect(Episode, names.TOPIC_EPISODE, qos.LATCHED)
    with recorder(tmp_path):
        robot.start()
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        started = start(probe)
        assert started.success, started.message
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        wait_for(lambda: recorded(newest, names.TOPIC_ROBOT_STATE), "states in the bag")
        first = robot.images
        wait_for(lambda: robot.images > first + 40, "forty images")
        ended = end(probe, SUCCESS)
    assert ended.success, ended.message
    assert ended.path == str(tmp_path / started.episode_id)
    with BagReader(ended.path) as bag:
        images, states = stamps(bag, names.TOPIC_DEPTH_IMAGE), stamps(bag, names.TOPIC_ROBOT_STATE)
        assert len(images) >= 30
        assert is_consecutive(images)
        assert is_consecutive(states)
        (transforms,) = bag.messages([names.TOPIC_TF_STATIC])
        assert transforms.message.transforms[0].child_frame_id == names.CAMERA_FRAME
        outcomes = [(m.message.episode_id, m.message.outcome) for m in bag.messages([names.TOPIC_EPISODE])]
        assert outcomes == [(started.episode_id, Episode.OUTCOME_RUNNING), (started.episode_id, SUCCESS)]
        message = next(bag.messages([names.TOPIC_DEPTH_IMAGE])).message
        np.testing.assert_array_equal(bridge.image_to_array(message), PIXELS)
        assert bag.topics[names.TOPIC_ROBOT_STATE].qos[0].reliability.name == "BEST_EFFORT"
        assert bag.topics[names.TOPIC_TF_STATIC].qos[0].durability.name == "TRANSIENT_LOCAL"
        assert bag.notes["outcome"] == "success"
        assert bag.notes["instruction"] == "open the drawer"
        assert bag.notes["seed"] == "7"
        assert bag.notes["calibration_hash"] == "abc123"
        assert not [note for note in bag.notes if note.startswith("lost") or note == "ended_early"]
    wait_for(lambda: len(episodes) >= 2, "the episode's start and end")
    assert [episode.outcome for episode in episodes] == [Episode.OUTCOME_RUNNING, SUCCESS]


def test_a_calibration_that_arrives_after_the_start_is_noted(probe: Probe, tmp_path: Path) -> None:
    newest = health(probe)
    with recorder(tmp_path, audit=False):
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        assert start(probe).success
        publisher = probe.node.create_publisher(String, names.TOPIC_CALIBRATION, qos.LATCHED)
        for name in ("first", "second"):
            publisher.publish(String(data=name))
            wait_for(partial(hears_calibration, newest, name), f"calibration {name}")
        ended = end(probe, SUCCESS)
    with BagReader(ended.path) as bag:
        assert bag.notes["calibration_hash"] == "first"


def test_a_discarded_episode_leaves_nothing(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    newest = health(probe)
    with recorder(tmp_path):
        robot.start()
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        assert start(probe).success
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        response = end(probe, DISCARD)
        assert (response.success, response.path) == (True, "")
        assert list(tmp_path.iterdir()) == []


def test_undo_takes_the_last_kept_episode_out_and_does_not_delete_it(probe: Probe, tmp_path: Path) -> None:
    newest = health(probe)
    with recorder(tmp_path, audit=False):
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        undo = partial(probe.call, Trigger, names.SERVICE_UNDO_EPISODE, Trigger.Request())
        assert "nothing to undo" in undo().message
        started = start(probe)
        assert "is running" in undo().message
        assert end(probe, SUCCESS).success
        assert undo().success
        assert not (tmp_path / started.episode_id).exists()
        with BagReader(tmp_path / "undone" / started.episode_id) as bag:
            assert bag.notes["outcome"] == "success"
        assert not undo().success


def test_every_episode_is_audited_when_it_ends(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    newest = health(probe)
    robot.start()
    with recorder(tmp_path) as process:
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        started = start(probe)
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        response = end(probe, SUCCESS)
        process.wait_for_output(f"audit bad: {started.episode_id}")
        document = json.loads((Path(response.path) / "audit.json").read_text())
    checks = {finding["check"]: finding["level"] for finding in document["episodes"][0]["findings"]}
    assert checks["topic missing"] == "bad"  # the test publishes no camera_info
    assert checks["outcome"] == "ok"


def test_episodes_do_not_overlap_and_say_so(probe: Probe, tmp_path: Path) -> None:
    newest = health(probe)
    with recorder(tmp_path):
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        assert "start one first" in end(probe, SUCCESS).message
        first = start(probe)
        again = start(probe)
        assert (again.success, first.episode_id in again.message) == (False, True)
        assert "expected one of [1, 2, 3]" in end(probe, 0).message
        assert end(probe, FAILURE).success
        second = start(probe)
        assert second.success
        assert second.episode_id.endswith("_0002")
        assert end(probe, SUCCESS).success


def test_ctrl_c_closes_the_bag_of_a_run_readable(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    newest = health(probe)
    robot.start()
    with recorder(tmp_path, record_run=True, run_name="run") as process:
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        assert start(probe).success
        response = end(probe, FAILURE)
        assert (response.success, response.path) == (True, str(tmp_path / "run"))
        assert process.interrupt(timeout_s=10.0) == 0, process.output
        assert "closed" in process.output
    with BagReader(tmp_path / "run") as bag:
        assert is_consecutive(stamps(bag, names.TOPIC_DEPTH_IMAGE))
        assert [m.message.outcome for m in bag.messages([names.TOPIC_EPISODE])] == [0, FAILURE]


def test_an_interrupted_episode_is_kept_and_marked(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    newest = health(probe)
    robot.start()
    with recorder(tmp_path) as process:
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        started = start(probe)
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        assert process.interrupt(timeout_s=10.0) == 0, process.output
    with BagReader(tmp_path / started.episode_id) as bag:
        assert bag.notes["outcome"] == "unfinished"


def test_a_killed_recorder_leaves_a_bag_that_can_be_recovered(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    newest = health(probe)
    robot.start()
    with recorder(tmp_path, record_run=True, run_name="run", flush_period_s=0.2) as process:
        wait_for(lambda: recorded(newest, names.TOPIC_DEPTH_IMAGE), "images in the bag")
        first = robot.images
        wait_for(lambda: robot.images > first + 30, "thirty more images")
        process.process.kill()
        process.wait_for_exit()
    with pytest.raises(BagError, match="clar data recover"):
        BagReader(tmp_path / "run.recording")
    recovered = recover_bag(tmp_path / "run.recording")
    with BagReader(recovered.path) as bag:
        images = stamps(bag, names.TOPIC_DEPTH_IMAGE)
        assert is_consecutive(images)
        assert images[-1] >= first
    with recorder(tmp_path, record_run=True, run_name="run") as process:
        assert process.wait_for_exit() == 1
        assert "exists already" in process.output


def test_a_full_disk_is_told_at_once_and_leaves_a_readable_episode(probe: Probe, robot: Robot, tmp_path: Path) -> None:
    """The operating system refuses to let the bag grow, as a full disk or a quota would."""
    newest = health(probe)
    with recorder(tmp_path, flush_period_s=0.2) as process:
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        assert start(probe).success
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
        robot.start()

        def told() -> bool:
            status = newest()
            return status is not None and status.level == DiagnosticStatus.ERROR and "ended early" in status.message

        wait_for(told, "an error in the diagnostics")
        process.wait_for_output("THE RECORDING ENDED EARLY")
        response = end(probe, SUCCESS)
        assert not response.success
        assert "File too large" in response.message
    with BagReader(response.path) as bag:
        images = stamps(bag, names.TOPIC_DEPTH_IMAGE)
        assert len(images) >= 3
        assert is_consecutive(images)
        assert "File too large" in bag.notes["ended_early"]


def test_recording_without_space_is_refused(probe: Probe, tmp_path: Path) -> None:
    newest = health(probe)
    with recorder(tmp_path, min_free_mb=1_000_000) as process:
        wait_for(lambda: newest() is not None and "not recording" in newest().message, "an active recorder")
        response = start(probe)
        assert not response.success
        assert "free some space" in response.message
        assert process.process.poll() is None


def test_a_folder_that_cannot_be_written_is_refused_at_once(ros_domain: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with recorder(tmp_path / "file") as process:
        assert process.wait_for_exit() == 1
        assert "expected a folder that bags can be written into" in process.output


def test_topics_of_types_that_nobody_knows_are_named(probe: Probe, tmp_path: Path) -> None:
    """Here a topic whose publisher has a type that the recorder's environment cannot load."""
    from clar.taps import Taps

    publisher: Any = probe.node.create_publisher(String, "/odd", 1)
    said: list[str] = []

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            return getattr(probe.node, name)

        def get_publishers_info_by_topic(self, name: str) -> Any:
            publishers = probe.node.get_publishers_info_by_topic(name)
            for publisher in publishers:
                publisher.topic_type = "nowhere_msgs/msg/Odd"
            return publishers

        def get_logger(self) -> Any:
            return type("log", (), {"error": lambda self, text: said.append(text)})()

    taps = Taps(Deaf(), ["/odd", "/silent"], lambda *message: None)  # type: ignore[arg-type]
    wait_for(lambda: probe.node.get_publishers_info_by_topic("/odd"), "the publisher")
    taps.refresh()
    taps.refresh()
    assert list(taps.refused) == ["/odd"]
    assert taps.without_publisher == ["/silent"]
    (text,) = said
    assert "/odd cannot be recorded: no definition of nowhere_msgs/msg/Odd" in text
    probe.node.destroy_publisher(publisher)
