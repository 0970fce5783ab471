"""Records topics into rosbag2 bags: one for each episode, or one for the whole run.

Messages are taken as they come over the wire and written by a thread of their own. Every bag starts with what latched
topics hold (static transforms, calibration), carries its episode's metadata, and has its final name only when it is
whole. When the disk fills or the writer falls behind, the operator is told at once and the bag is closed readable.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rclpy.serialization import serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from clar import names, qos
from clar.node import ERROR, OK, WARN, Health, LifecycleNode, NodeError
from clar.parameters import LifecycleParameters, parameter
from clar.process import run_node
from clar.taps import Taps, ensure_definition
from clar_core.data.audit import Auditor
from clar_core.data.bag_writer import offered_qos
from clar_core.data.bags import RECORDING_SUFFIX, BagError
from clar_core.data.recording import RecordedTopic, Recording, RecordingLimits, RecordingStatus
from clar_interfaces.msg import Episode
from clar_interfaces.srv import EndEpisode, StartEpisode

_GRAPH_PERIOD_S = 0.5
# An interrupted process has 4 s in all.
_CLOSE_ON_EXIT_S = 1.5
_CLOSE_EPISODE_S = 20.0
UNDONE = "undone"
"""Folder below the bags into which undo moves an episode: taken out, not lost."""
_NICENESS = 10

_OUTCOMES = {
    EndEpisode.Request.OUTCOME_SUCCESS: "success",
    EndEpisode.Request.OUTCOME_FAILURE: "failure",
    EndEpisode.Request.OUTCOME_DISCARD: "discard",
}
_EPISODE_TOPIC = RecordedTopic(
    names.TOPIC_EPISODE, "clar_interfaces/msg/Episode", (offered_qos(durability="transient_local", depth=1),)
)

DEFAULT_TOPICS = (
    names.TOPIC_DEPTH_IMAGE,
    names.TOPIC_DEPTH_INFO,
    names.TOPIC_COLOR_COMPRESSED,
    names.TOPIC_COLOR_INFO,
    names.TOPIC_TF,
    names.TOPIC_TF_STATIC,
    names.TOPIC_ROBOT_STATE,
    names.TOPIC_JOINT_STATES,
    names.TOPIC_COMMAND,
    names.TOPIC_TELEOP_STATUS,
    names.TOPIC_POLICY_TICK,
    names.TOPIC_TIMINGS,
    names.TOPIC_CALIBRATION,
    names.TOPIC_SIM_STATE,
    names.TOPIC_DIAGNOSTICS,
)


@dataclass(frozen=True, kw_only=True)
class RecorderParameters(LifecycleParameters):
    """Parameters of the recorder."""

    directory: str = parameter("outputs/bags", "Folder that bags are written into; made when it does not exist.")
    record_run: bool = parameter(
        False, "Record everything from activation on into one bag; episodes are marked in it instead of cut out."
    )
    run_name: str = parameter("", "Name of the bag of a run; empty: run_ and the time of its start.")
    topics: tuple[str, ...] = parameter(
        DEFAULT_TOPICS, "Topics to record. Not the cloud: crop and sampling stay changeable after recording."
    )
    queue_mb: int = parameter(
        256, "Messages waiting to be written beyond this size end the recording.", unit="MB", minimum=8, maximum=8192
    )
    min_free_mb: int = parameter(
        512, "Less free disk space than this ends the recording.", unit="MB", minimum=0, maximum=1_000_000
    )
    flush_period_s: float = parameter(
        1.0, "The most that a killed recorder loses.", unit="s", minimum=0.05, maximum=10.0
    )
    audit: bool = parameter(True, "Look through every episode when it ends, and tell whether it is fit for training.")
    compression_level: int = parameter(
        1, "Level of zstd; 3 takes twice as long as 1 and saves a fifth.", minimum=1, maximum=19
    )


class RecorderNode(LifecycleNode):
    """Writes bags while it is active."""

    node_name = names.NODE_RECORDER
    parameters_type = RecorderParameters

    def configure(self) -> None:
        """Check that bags can be written, and offer the services."""
        p = self.parameters
        self._directory = Path(p.directory).expanduser().absolute()
        _check_writable(self._directory)
        self._limits = RecordingLimits(
            queue_bytes=p.queue_mb * 1_000_000,
            min_free_bytes=p.min_free_mb * 1_000_000,
            flush_period_s=p.flush_period_s,
            compression_level=p.compression_level,
        )
        self._recording: Recording | None = None
        self._episode: Episode | None = None
        self._calibration_hash = ""
        self._written = 0
        self._kept: list[Path] = []
        self._last_verdict = ""
        self._auditor = Auditor()
        self.on_release(self._auditor.close)
        self._lost_before: dict[str, int] = {}
        self._last_look = (time.monotonic(), dict[str, int]())
        self._taps = Taps(self, [t for t in p.topics if t != names.TOPIC_EPISODE], self._on_message)
        ensure_definition(self._taps.typestore, _EPISODE_TOPIC.msgtype)
        self._episode_publisher = self.create_publisher(Episode, names.TOPIC_EPISODE, qos.LATCHED)
        self.create_subscription(String, names.TOPIC_CALIBRATION, self._on_calibration, qos.LATCHED)
        self.create_service(StartEpisode, names.SERVICE_START_EPISODE, self._start_episode)
        self.create_service(EndEpisode, names.SERVICE_END_EPISODE, self._end_episode)
        self.create_service(Trigger, names.SERVICE_UNDO_EPISODE, self._undo_episode)
        self.create_timer(_GRAPH_PERIOD_S, self._hear_auditor)
        self._tell_of_cut_off_bags()

    def activate(self) -> None:
        """Subscribe, and begin the bag of the run if that is asked for."""
        self.on_release(self._taps.close)
        self._taps.refresh()
        self.create_timer(_GRAPH_PERIOD_S, self._taps.refresh)
        if self.parameters.record_run:
            name = self.parameters.run_name or datetime.now().strftime("run_%Y%m%dT%H%M%S")
            self._recording = self._open(name, {"source": "run"})

    def deactivate(self) -> None:
        """Close the bag."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        notes = {} if self.parameters.record_run else {"outcome": "unfinished"}
        path = recording.finish(self._closing_notes() | notes, within_s=_CLOSE_ON_EXIT_S)
        self._episode = None
        self._written += 1
        self.get_logger().info(f"closed {path}: {_summary(recording.status())}")

    def health(self) -> Health:
        """What is recorded at what rate, what was lost, and how much disk is left."""
        recording = self._recording
        values: dict[str, object] = {
            "bags": self._written,
            "episodes": len(self._kept),
            "last_verdict": self._last_verdict,
            "calibration_hash": self._calibration_hash,
            "directory": self._directory,
        }
        if recording is None:
            return Health(OK, "not recording", values)
        status = recording.status()
        values |= {
            "bag": recording.path,
            "episode": self._episode.episode_id if self._episode else "",
            "messages": sum(status.messages.values()),
            "written_mb": status.bytes_written / 1e6,
            "queue_mb": status.queued_bytes / 1e6,
            "free_gb": status.free_bytes / 1e9,
            "rejected": status.rejected,
            **{f"{topic} [Hz]": rate for topic, rate in self._rates(status).items()},
            **{f"{name} lost": tap.lost for name, tap in self._taps.open.items() if tap.lost},
        }
        if status.failure:
            return Health(ERROR, f"the recording ended early: {status.failure}", values)
        if lost := [name for name, tap in self._taps.open.items() if tap.lost]:
            return Health(WARN, f"messages were lost before they arrived: {', '.join(lost)}", values)
        if self._taps.refused:
            return Health(WARN, f"cannot be recorded: {', '.join(self._taps.refused)}", values)
        return Health(OK, f"recording {recording.path.name}", values)

    def _start_episode(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        try:
            if not self.active:
                raise NodeError(
                    "the recorder is not active: activate it first (the manager does, once the stack is up)"
                )
            if self._episode is not None:
                raise NodeError(
                    f"episode {self._episode.episode_id} is still running: end it first ({names.SERVICE_END_EPISODE})"
                )
            episode = self._new_episode(request)
            if not self.parameters.record_run:
                self._recording = self._open(episode.episode_id, _notes(episode))
            self._episode = episode
            self._mark(episode)
        except (NodeError, OSError) as error:
            self.get_logger().error(f"no episode was started: {error}")
            response.success, response.message = False, str(error)
            return response
        self.get_logger().info(f"episode {episode.episode_id}: {episode.task or 'no task named'}")
        response.success, response.message, response.episode_id = True, "recording", episode.episode_id
        return response

    def _end_episode(self, request: EndEpisode.Request, response: EndEpisode.Response) -> EndEpisode.Response:
        try:
            if request.outcome not in _OUTCOMES:
                raise NodeError(
                    f"outcome: expected one of {sorted(_OUTCOMES)} (success, failure, discard), got {request.outcome}"
                )
            if self._episode is None or self._recording is None:
                raise NodeError(f"no episode is running: start one first ({names.SERVICE_START_EPISODE})")
            path, failure = self._close_episode(self._episode, self._recording, request.outcome)
        except (NodeError, BagError, OSError) as error:
            self.get_logger().error(f"the episode was not ended: {error}")
            response.success, response.message = False, str(error)
            return response
        response.success, response.message, response.path = failure is None, failure or "closed", str(path or "")
        if path is not None and not self.parameters.record_run:
            response.message = failure or f"kept {path.name}"
            self._kept.append(path)
            if self.parameters.audit:
                self._auditor.submit(path)
        return response

    def _undo_episode(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Take the last kept episode out of the data: its bag moves to a folder of its own."""
        try:
            if self._episode is not None:
                raise NodeError(f"episode {self._episode.episode_id} is running: end it first, then undo")
            if not self._kept:
                raise NodeError("nothing to undo: no episode was kept since the recorder started")
            path = self._kept[-1]
            aside = self._directory / UNDONE / path.name
            aside.parent.mkdir(exist_ok=True)
            path.rename(aside)
            self._kept.pop()
        except (NodeError, OSError) as error:
            response.success, response.message = False, str(error)
            return response
        self.get_logger().info(f"undone: {path.name} is now in {aside.parent}")
        response.success, response.message = True, f"undone: {path.name} (now in {aside.parent})"
        return response

    def _hear_auditor(self) -> None:
        verdict = self._auditor.poll()
        if verdict is None:
            return
        self._last_verdict = f"{verdict.level}: {verdict.text}"
        log = self.get_logger()
        if verdict.level == "ok":
            log.info(f"audit ok: {verdict.text}")
        else:
            log.warning(f"audit {verdict.level}: {verdict.text}")
        self.publish_diagnostics()

    def _close_episode(self, episode: Episode, recording: Recording, outcome: int) -> tuple[Path | None, str | None]:
        """Path of the episode's bag, None when it was discarded, and why it is not whole, if so."""
        episode.outcome = outcome
        self._mark(episode)
        notes = self._closing_notes() | {"outcome": _OUTCOMES[outcome]}
        self._episode = None
        status = recording.status()
        if self.parameters.record_run:
            return recording.path, status.failure
        self._recording = None
        if outcome == EndEpisode.Request.OUTCOME_DISCARD:
            recording.discard()
            self.get_logger().info(f"episode {episode.episode_id} discarded")
            return None, None
        path = recording.finish(notes, within_s=_CLOSE_EPISODE_S)
        self._written += 1
        status = recording.status()
        self.get_logger().info(f"episode {episode.episode_id}, {_OUTCOMES[outcome]}: {path}, {_summary(status)}")
        return path, status.failure

    def _open(self, name: str, notes: dict[str, str]) -> Recording:
        """Begin a bag with what latched topics hold."""
        recording = Recording(
            self._directory / name,
            self._taps.typestore,
            self._limits,
            notes={**notes, "started": datetime.now().astimezone().isoformat(timespec="seconds")},
            on_failure=self._on_failure,
        )
        now_ns = time.time_ns()
        for tap in self._taps.open.values():
            recording.add_topic(tap.topic)
        for topic, data in self._taps.latched_messages():
            recording.put(topic.name, now_ns, data)
        self._last_look = (time.monotonic(), {})
        self._lost_before = {name: tap.lost for name, tap in self._taps.open.items()}
        self.get_logger().info(f"recording {recording.path}")
        return recording

    def _on_message(self, topic: RecordedTopic, stamp_ns: int, data: bytes) -> None:
        recording = self._recording
        if recording is not None:
            recording.add_topic(topic)
            recording.put(topic.name, stamp_ns, data)

    def _on_failure(self, reason: str) -> None:
        self.get_logger().error(
            f"THE RECORDING ENDED EARLY: {reason}. What was recorded until now is kept and readable."
        )
        self.publish_diagnostics()

    def _on_calibration(self, message: String) -> None:
        self._calibration_hash = message.data
        if self._episode is not None and not self._episode.calibration_hash:
            self._episode.calibration_hash = message.data  # it came after the start; the closing notes carry it

    def _new_episode(self, request: StartEpisode.Request) -> Episode:
        return Episode(
            episode_id=_new_name(self._directory),
            task=request.task,
            instruction=request.instruction,
            operator_name=request.operator_name,
            source=request.source,
            seed=request.seed,
            calibration_hash=self._calibration_hash,
        )

    def _mark(self, episode: Episode) -> None:
        """Publish where the episode stands, and put it into the bag."""
        episode.header.stamp = self.get_clock().now().to_msg()
        episode.header.frame_id = names.BASE_FRAME
        self._episode_publisher.publish(episode)
        if self._recording is not None:
            self._recording.add_topic(_EPISODE_TOPIC)
            self._recording.put(_EPISODE_TOPIC.name, time.time_ns(), serialize_message(episode))

    def _rates(self, status: RecordingStatus) -> dict[str, float]:
        """Messages a second, by topic, since the last look."""
        then_s, before = self._last_look
        now_s = time.monotonic()
        self._last_look = (now_s, status.messages)
        return {
            topic: round((count - before.get(topic, 0)) / max(now_s - then_s, 1e-3), 1)
            for topic, count in status.messages.items()
        }

    def _closing_notes(self) -> dict[str, str]:
        """For the metadata: messages lost on their way here since the bag began; the calibration of its episode."""
        lost = {name: tap.lost - self._lost_before.get(name, 0) for name, tap in self._taps.open.items()}
        notes = {f"lost {name}": str(count) for name, count in lost.items() if count}
        if self._episode is not None and not self.parameters.record_run:
            notes["calibration_hash"] = self._episode.calibration_hash
        return notes

    def _tell_of_cut_off_bags(self) -> None:
        for left in sorted(self._directory.glob(f"*{RECORDING_SUFFIX}")):
            self.get_logger().warning(f"{left} was cut off by a crash: clar data recover {left}")


def _new_name(directory: Path) -> str:
    """A name that no bag in the folder has: time, and a number that counts up."""
    numbers = [int(p.name.split("_")[1][:4]) for p in directory.glob("????????T??????_[0-9][0-9][0-9][0-9]*")]
    return f"{datetime.now():%Y%m%dT%H%M%S}_{max(numbers, default=0) + 1:04d}"


def _notes(episode: Episode) -> dict[str, str]:
    return {
        "episode_id": episode.episode_id,
        "task": episode.task,
        "instruction": episode.instruction,
        "operator": episode.operator_name,
        "source": episode.source,
        "seed": str(episode.seed),
        "calibration_hash": episode.calibration_hash,
    }


def _summary(status: RecordingStatus) -> str:
    text = f"{sum(status.messages.values())} messages, {status.bytes_written / 1e6:.1f} MB"
    return f"{text}, ended early: {status.failure}" if status.failure else text


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NodeError(
            f"directory: expected a folder that bags can be written into, got {directory}: {error.strerror}; "
            "choose another one (bag:=FOLDER)"
        ) from error


def main() -> int:
    """Run the recorder."""
    return run_node(RecorderNode, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
