"""Everything in a bag but its images, as arrays: states, commands, transforms, marks, and when each message came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.bag_clouds import add_transforms, whole_bag_frames
from clar_core.data.bags import BagError, BagReader
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.data.messages import intrinsics_of, stamp_ns
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.frames import FrameError, FrameTree
from clar_core.geometry.poses import Array, pose_from_quaternion

RUNNING = 2
"""``RobotState.MODE_RUNNING``."""
OUTCOMES = {0: "running", 1: "success", 2: "failure", 3: "discard"}


@dataclass(frozen=True, eq=False)
class StateLog:
    """Robot states in order of stamp.

    Attributes:
        stamps_ns: (n,) int64.
        T_measured: (n, 4, 4).
        width_m: (n,) opening of the gripper.
        T_commanded: (n, 4, 4), or None where the bag has no commanded poses.
        mode, owner, last_sequence: (n,) of the supervisor; empty lists where the bag has none.
    """

    stamps_ns: NDArray[np.int64]
    T_measured: Array
    width_m: Array
    T_commanded: Array | None = None
    mode: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    owner: tuple[str, ...] = ()
    last_sequence: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(frozen=True, eq=False)
class LoggedCommand:
    """One command as it was published."""

    source: str
    sequence: int
    stamp_ns: int
    observation_ns: int
    values: Array


@dataclass(frozen=True)
class EpisodeMark:
    """One message of the recorder about an episode."""

    stamp_ns: int
    episode_id: str
    task: str
    instruction: str
    operator: str
    source: str
    outcome: str
    seed: int
    calibration_hash: str


@dataclass(frozen=True)
class TeleopMark:
    """What the operator's device did at a time."""

    stamp_ns: int
    device: str
    connected: bool
    dead_man: bool


@dataclass(frozen=True, eq=False)
class BagLog:
    """What a bag says besides its images.

    Attributes:
        arrivals_ns: times of reception by topic.
        stamps_ns: header stamps by topic, of those that have a header.
        depth_stamps_ns: of the camera_info that comes with each depth image.
        intrinsics: of the depth camera, the first one; None without camera_info.
        frames: all transforms.
        problems: messages that could not be used, by reason.
    """

    states: StateLog
    commands: tuple[LoggedCommand, ...]
    marks: tuple[EpisodeMark, ...]
    teleop: tuple[TeleopMark, ...]
    calibration_hash: str
    arrivals_ns: dict[str, NDArray[np.int64]]
    stamps_ns: dict[str, NDArray[np.int64]]
    intrinsics: tuple[Intrinsics, ...]
    frames: FrameTree
    problems: dict[str, int]


def read_log(bag: BagReader, mapping: BagMapping = OWN_NAMES) -> BagLog:
    """Read a bag once, without its images' content.

    Raises:
        BagError: the bag is damaged or empty, or lacks the robot's state in any form.
    """
    if bag.message_count == 0:
        raise BagError(f"{bag.path}: empty: no message of any topic was recorded; delete it, or record again")
    reader = _LogReader(bag, mapping)
    return reader.read()


class _LogReader:
    def __init__(self, bag: BagReader, mapping: BagMapping) -> None:
        self._bag, self._mapping = bag, mapping
        self._arrivals: dict[str, list[int]] = {name: [] for name in bag.topics}
        self._stamps: dict[str, list[int]] = {}
        self._states: list[Any] = []
        self._poses: list[tuple[int, Array]] = []
        self._widths: list[tuple[int, float]] = []
        self._commands: list[LoggedCommand] = []
        self._marks: list[EpisodeMark] = []
        self._teleop: list[TeleopMark] = []
        self._intrinsics: list[Intrinsics] = []
        self._calibration = ""
        self._problems: dict[str, int] = {}
        self._frames = whole_bag_frames()
        self._tcp_stamps: list[int] = []

    def read(self) -> BagLog:
        m = self._mapping
        handlers = {
            m.state: self._on_state,
            m.command: self._on_command,
            m.episode: self._on_episode,
            m.teleop: self._on_teleop,
            m.calibration: self._on_calibration,
            m.depth_info: self._on_info,
            m.pose: self._on_pose,
            m.gripper: self._on_gripper,
        }
        handlers[m.tf] = handlers[m.tf_static] = lambda message: None
        for message in self._bag.arrivals(handlers):
            self._arrivals[message.topic].append(message.stamp_ns)
            if message.message is None:
                continue
            try:
                if message.topic in (m.tf, m.tf_static):
                    self._on_transforms(message.message, static=message.topic == m.tf_static)
                else:
                    handlers[message.topic](message.message)
            except (ValueError, AttributeError) as error:
                reason = f"{message.topic}: {error}"
                self._problems[reason] = self._problems.get(reason, 0) + 1
        return BagLog(
            states=self._state_log(),
            commands=tuple(self._commands),
            marks=tuple(self._marks),
            teleop=tuple(self._teleop),
            calibration_hash=self._calibration,
            arrivals_ns={name: np.array(times, np.int64) for name, times in self._arrivals.items()},
            stamps_ns={name: np.array(times, np.int64) for name, times in self._stamps.items()},
            intrinsics=tuple(dict.fromkeys(self._intrinsics)),
            frames=self._frames,
            problems=dict(self._problems),
        )

    def _on_transforms(self, message: Any, *, static: bool) -> None:
        add_transforms(self._frames, message, static=static)
        if not static:
            tcp = self._mapping.tcp_frame
            self._tcp_stamps += [stamp_ns(t.header.stamp) for t in message.transforms if t.child_frame_id == tcp]

    def _stamp(self, topic: str, header: Any) -> int:
        stamp = stamp_ns(header.stamp)
        self._stamps.setdefault(topic, []).append(stamp)
        return stamp

    def _on_state(self, message: Any) -> None:
        stamp = self._stamp(self._mapping.state, message.header)
        measured, commanded = _pose(message.measured_pose), _pose(message.commanded_pose)
        self._states.append(
            (stamp, measured, commanded, float(message.gripper_width), int(message.mode), message.owner,
             int(message.last_sequence))
        )  # fmt: skip

    def _on_command(self, message: Any) -> None:
        t, r = message.translation, message.rotation
        values = np.array([t.x, t.y, t.z, r.x, r.y, r.z, message.gripper], dtype=np.float64)
        self._commands.append(
            LoggedCommand(
                message.source,
                int(message.sequence),
                self._stamp(self._mapping.command, message.header),
                stamp_ns(message.observation_stamp),
                values,
            )
        )

    def _on_episode(self, message: Any) -> None:
        self._marks.append(
            EpisodeMark(
                stamp_ns(message.header.stamp),
                message.episode_id,
                message.task,
                message.instruction,
                message.operator_name,
                message.source,
                OUTCOMES.get(int(message.outcome), "unknown"),
                int(message.seed),
                message.calibration_hash,
            )
        )

    def _on_teleop(self, message: Any) -> None:
        self._teleop.append(
            TeleopMark(stamp_ns(message.header.stamp), message.device, bool(message.connected), bool(message.dead_man))
        )

    def _on_calibration(self, message: Any) -> None:
        self._calibration = message.data

    def _on_info(self, message: Any) -> None:
        self._stamp(self._mapping.depth_info, message.header)
        if len(self._intrinsics) < 16:
            self._intrinsics.append(intrinsics_of(message))

    def _on_pose(self, message: Any) -> None:
        pose = message.pose
        self._poses.append((self._stamp(self._mapping.pose, message.header), _pose(pose)))

    def _on_gripper(self, message: Any) -> None:
        positions = dict(zip(message.name, message.position, strict=False))
        found = [float(positions[name]) for name in self._mapping.gripper_joints if name in positions]
        if found:
            self._widths.append((self._stamp(self._mapping.gripper, message.header), sum(found)))

    def _state_log(self) -> StateLog:
        if self._states:
            rows = sorted(self._states, key=lambda row: row[0])
            stamps, measured, commanded, widths, modes, owners, sequences = zip(*rows, strict=True)
            return StateLog(
                np.array(stamps, np.int64),
                np.array(measured),
                np.array(widths),
                np.array(commanded),
                np.array(modes, np.int64),
                tuple(owners),
                np.array(sequences, np.int64),
            )
        poses = sorted(self._poses or self._poses_of_frames(), key=lambda row: row[0])
        if not poses:
            m = self._mapping
            raise BagError(
                f"{self._bag.path}: no robot state: expected {m.state}, or {m.pose or 'a pose topic'}, or "
                f"{m.base_frame} -> {m.tcp_frame} on {m.tf}; name the topics in a mapping file (--mapping)"
            )
        if not self._widths:
            raise BagError(
                f"{self._bag.path}: no width of the gripper: expected joints {', '.join(self._mapping.gripper_joints)} "
                f"on {self._mapping.gripper}; name topic and joints in a mapping file (--mapping)"
            )
        stamps_ns = np.array([stamp for stamp, _ in poses], np.int64)
        times, widths = zip(*sorted(self._widths), strict=True)
        width = np.interp(stamps_ns.astype(np.float64), np.array(times, np.float64), np.array(widths))
        return StateLog(stamps_ns, np.array([pose for _, pose in poses]), width)

    def _poses_of_frames(self) -> list[tuple[int, Array]]:
        """The TCP in the base frame at every stamp of its own transform."""
        found: list[tuple[int, Array]] = []
        for stamp in sorted(set(self._tcp_stamps)):
            try:
                found.append((stamp, self._frames.lookup(self._mapping.base_frame, self._mapping.tcp_frame, stamp)))
            except FrameError:
                continue
        return found


def _pose(pose: Any) -> Array:
    p, q = pose.position, pose.orientation
    return pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
