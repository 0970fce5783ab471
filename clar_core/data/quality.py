"""Is a recorded episode fit for training? One table, one verdict, for people and for programs.

Every check gives a figure and a level: ok, warn (it will train, look at it) or bad (leave it out). The verdict is the
worst level.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.bag_episode import Window, labels_of, state_at, windows
from clar_core.data.bag_faults import Calibration, calibration_fault, camera_pose, clock_fault, name_of_camera
from clar_core.data.bag_log import BagLog, read_log
from clar_core.data.bags import BagReader
from clar_core.data.labels import COMMANDED, Label
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.data.quality_depth import DepthFigures, look_at_depth
from clar_core.geometry.frames import FrameError
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import StateGapError

OK, WARN, BAD = "ok", "warn", "bad"
_LEVELS = (OK, WARN, BAD)
_JERK_M = 0.035
"""Second difference of the 100 ms steps, which are metres: an acceleration that changes by 3.5 m/s^2 in one step."""

__all__ = ["BAD", "OK", "WARN", "EpisodeReport", "Finding", "QualityLimits", "assess", "compare"]


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """From where on a figure is a warning, and from where on it is bad.

    Attributes:
        state_rate_hz: expected rate of the robot's states; below nine tenths is a warning, below half is bad.
        depth_rate_min_hz: fewer depth images a second than this are bad: less than one for each step.
        jitter_p99_ms: of depth images, 99th percentile of the distance from the mean period.
        gap_ms: longest pause of the depth images.
        frozen_fraction: part of depth images with the content of the one before.
        valid_fraction: mean part of pixels with a depth.
        idle_s: standing still at head or tail.
        clamped_fraction: part of the commands that the envelope changed.
        jerk_outliers: part of steps whose acceleration changes by more than 3.5 m/s^2 in one step.
        gripper_switches: changes of the gripper's target.
        unpaired_fraction: executed commands that give no training step.
        state_gaps: part of the steps without a robot state within 20 ms of their image.
    """

    state_rate_hz: float = 100.0
    depth_rate_min_hz: float = 10.0
    jitter_p99_ms: tuple[float, float] = (35.0, 100.0)
    gap_ms: tuple[float, float] = (150.0, 500.0)
    frozen_fraction: tuple[float, float] = (0.02, 0.2)
    valid_fraction: tuple[float, float] = (0.35, 0.15)
    idle_s: tuple[float, float] = (2.0, 10.0)
    clamped_fraction: tuple[float, float] = (0.1, 0.4)
    jerk_outliers: tuple[float, float] = (0.05, 0.2)
    gripper_switches: tuple[int, int] = (8, 20)
    unpaired_fraction: tuple[float, float] = (0.4, 0.8)
    state_gaps: tuple[float, float] = (0.05, 0.2)


@dataclass(frozen=True)
class Finding:
    """One check: its name, the figure as text, its level, and what to know or do when it is not ok."""

    check: str
    value: str
    level: str = OK
    hint: str = ""


@dataclass(frozen=True)
class EpisodeReport:
    """All checks of one episode, the numbers behind them, and what names its view."""

    bag: str
    episode: str
    task: str
    outcome: str
    steps: int
    duration_s: float
    findings: tuple[Finding, ...]
    figures: dict[str, float] = field(default_factory=dict)
    camera: str = ""
    calibration: str = ""

    @property
    def verdict(self) -> str:
        """The worst level of all checks."""
        return _LEVELS[max((_LEVELS.index(f.level) for f in self.findings), default=0)]

    @property
    def reasons(self) -> list[str]:
        """What is not ok, worst first."""
        bad = [f for f in self.findings if f.level != OK]
        bad.sort(key=lambda f: -_LEVELS.index(f.level))
        return [f"{f.check} {f.value}" + (f" ({f.hint})" if f.hint else "") for f in bad]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"verdict": self.verdict}


def assess(
    path: Path | str,
    spec: ObservationSpec,
    mapping: BagMapping = OWN_NAMES,
    limits: QualityLimits = QualityLimits(),  # frozen
    *,
    calibration: Calibration | None = None,
) -> list[EpisodeReport]:
    """The reports of a bag's episodes.

    Args:
        path: bag.
        spec: for the crop box and the points that it asks for.
        mapping: names in the bag.
        limits: of the figures.
        calibration: a ``clar_calibration.CalibrationResult`` that the transforms and the hash must equal, or None.

    Raises:
        BagError: the bag cannot be read at all; names what and what to do.
    """
    with BagReader(path) as bag:
        log = read_log(bag, mapping)
        return [
            _Assessment(bag, log, w, spec, mapping, limits, calibration).report() for w in windows(bag, log, mapping)
        ]


class _Assessment:
    def __init__(
        self,
        bag: BagReader,
        log: BagLog,
        window: Window,
        spec: ObservationSpec,
        mapping: BagMapping,
        limits: QualityLimits,
        calibration: Calibration | None,
    ) -> None:
        self._bag, self._log, self._window, self._spec = bag, log, window, spec
        self._mapping, self._limits, self._calibration = mapping, limits, calibration
        self._findings: list[Finding] = []
        self._figures: dict[str, float] = {}
        self._skipped: Counter[str] = Counter()

    def report(self) -> EpisodeReport:
        self._labels, self._kind = labels_of(self._log, self._window, self._mapping, self._skipped)
        self._check_outcome()
        self._check_topics()
        self._check_depth()
        self._check_frames()
        self._check_labels()
        self._check_operator()
        for reason, count in sorted(self._log.problems.items()):
            self._add("unusable messages", f"{count}", WARN, reason)
        return EpisodeReport(
            str(self._bag.path),
            self._window.name,
            self._window.task,
            self._window.outcome,
            len(self._labels),
            round(self._duration_s(), 2),
            tuple(self._findings),
            self._figures,
            name_of_camera(self._log),
            self._log.calibration_hash,
        )

    def _add(self, check: str, value: str, level: str = OK, hint: str = "") -> None:
        self._findings.append(Finding(check, value, level, hint))

    def _duration_s(self) -> float:
        times = self._inside(self._log.states.stamps_ns)
        return float(times[-1] - times[0]) * 1e-9 if len(times) > 1 else 0.0

    def _inside(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        w = self._window
        return times_ns[(times_ns >= w.start_ns) & (times_ns <= w.stop_ns)]

    def _check_outcome(self) -> None:
        outcome = self._window.outcome
        hint = "" if outcome == "success" else "only successes train, unless asked otherwise"
        self._add("outcome", outcome, OK if outcome == "success" else WARN, hint)
        if early := self._bag.notes.get("ended_early"):
            self._add("ended early", early, BAD, "record it again")
        if recovered := self._bag.notes.get("recovered"):
            self._add("recovered", recovered, WARN, "the end is missing")
        lost = {k.removeprefix("lost "): v for k, v in self._bag.notes.items() if k.startswith("lost ")}
        for topic, count in lost.items():
            self._add("messages lost", f"{count} of {topic}", WARN, "the machine was too busy")

    def _check_topics(self) -> None:
        limits, log = self._limits, self._log
        states = self._inside(log.states.stamps_ns)
        rate = _rate_hz(states)
        self._figures["state_rate_hz"] = rate
        level = BAD if rate < 0.5 * limits.state_rate_hz else WARN if rate < 0.9 * limits.state_rate_hz else OK
        self._add(
            "robot state", f"{rate:.0f} Hz", level, "" if level == OK else f"expected {limits.state_rate_hz:g} Hz"
        )
        if fault := clock_fault(log, self._mapping):
            self._add("clock", f"{fault.field} {fault.found}", BAD, fault.hint)
        for topic in (self._mapping.depth_image, self._mapping.depth_info):
            if topic not in self._bag.topics:
                self._add("topic missing", topic, BAD, "record it, or name another topic in a mapping file")
        if self._mapping.command not in self._bag.topics:
            self._add("commands", "none", WARN, "labels come from measured poses")

    def _check_depth(self) -> None:
        if {self._mapping.depth_image, self._mapping.depth_info} - set(self._bag.topics):
            return
        limits = self._limits
        d: DepthFigures = look_at_depth(
            self._bag,
            self._spec,
            self._mapping,
            self._log,
            self._window,
            {label.observation_ns for label in self._labels},
        )
        self._figures |= d.to_dict()
        self._add("depth rate", f"{d.rate_hz:.1f} Hz", BAD if d.rate_hz < limits.depth_rate_min_hz else OK)
        self._graded("depth jitter p99", d.jitter_p99_ms, "ms", limits.jitter_p99_ms)
        self._graded("depth gap", d.longest_gap_ms, "ms", limits.gap_ms)
        self._graded("frozen frames", d.frozen_fraction, "", limits.frozen_fraction, "the camera repeats its image")
        self._graded("depth valid", d.valid_fraction, "", limits.valid_fraction, "covered or dirty?", rising=False)
        if d.unusable:
            self._add("depth images", f"{d.unusable} unusable", BAD, d.unusable_reason)
        few = self._spec.min_cloud_points
        level = BAD if d.points_min < few else WARN if d.points_min < 2 * few else OK
        self._add(
            "points after crop", f"{d.points_min} to {d.points_max}", level, "" if level == OK else f"at least {few}"
        )
        if len(self._log.intrinsics) > 1:
            self._add("camera", f"{len(self._log.intrinsics)} sets of intrinsics", BAD, "the camera's profile changed")

    def _check_frames(self) -> None:
        log, mapping = self._log, self._mapping
        if mapping.T_base_camera is not None:
            return
        try:
            frame, _ = camera_pose(log, mapping)
        except FrameError as error:
            self._add("transforms", "none", BAD, f"{error}")
            return
        recorded = log.marks[0].calibration_hash if log.marks else ""
        if not (recorded or log.calibration_hash):
            self._add("calibration", "unknown", WARN, "the bag names none")
        elif recorded and log.calibration_hash and recorded != log.calibration_hash:
            self._add("calibration", "changed while recording", BAD, f"{recorded} and {log.calibration_hash}")
        if self._calibration is None:
            self._add("transforms", f"{mapping.base_frame} <- {frame}")
            return
        if fault := calibration_fault(log, mapping, self._calibration):
            self._add("transforms", f"{fault.field} {fault.found}", BAD, fault.hint)
            return
        same_hash = self._calibration.hash in (recorded, log.calibration_hash)
        self._add("transforms", "as calibrated", OK if same_hash else WARN, "" if same_hash else "another hash")

    def _check_labels(self) -> None:
        limits, labels = self._limits, self._labels
        if not labels:
            reasons = "; ".join(f"{n} x {reason}" for reason, n in self._skipped.items()) or "no command was executed"
            self._add("steps", "0", BAD, reasons)
            return
        gaps = sum(self._is_gap(label) for label in labels)
        self._add("steps", f"{len(labels)}", BAD if len(labels) < 10 else OK)
        self._graded("steps without a state", gaps / len(labels), "", limits.state_gaps, "no state within 20 ms")
        unpaired = sum(self._skipped.values()) / max(len(labels) + sum(self._skipped.values()), 1)
        reasons = "; ".join(f"{n} x {reason}" for reason, n in self._skipped.items())
        self._graded("commands without a step", unpaired, "", limits.unpaired_fraction, reasons)
        actions = np.array([label.action for label in labels])
        head, tail = _idle_s(labels)
        self._graded("idle head", head, "s", limits.idle_s)
        self._graded("idle tail", tail, "s", limits.idle_s)
        jerk = np.linalg.norm(np.diff(actions[:, :3], n=2, axis=0), axis=1)
        self._graded("jerk outliers", float(np.mean(jerk > _JERK_M)) if len(jerk) else 0.0, "", limits.jerk_outliers)
        switches = int(np.sum(np.diff(actions[:, 6] > 0.5)))
        self._graded("gripper switches", switches, "", limits.gripper_switches, "does it chatter?")
        if self._kind == COMMANDED:
            self._graded(
                "clipped deltas", self._clipped(labels), "", limits.clamped_fraction, "beyond the arm's limits"
            )

    def _clipped(self, labels: list[Label]) -> float:
        asked = {c.observation_ns: c.values for c in self._log.commands}
        changed = [
            np.linalg.norm(asked[label.observation_ns][:3] - label.action[:3]) > 1e-3
            for label in labels
            if label.observation_ns in asked
        ]
        return float(np.mean(changed)) if changed else 0.0

    def _is_gap(self, label: Label) -> bool:
        try:
            state_at(self._log.states, label.observation_ns, self._spec)
        except StateGapError:
            return True
        return False

    def _check_operator(self) -> None:
        inside = [t for t in self._log.teleop if self._window.start_ns <= t.stamp_ns <= self._window.stop_ns]
        if any(not t.connected for t in inside):
            self._add("device", "lost", BAD, "the operator's device was lost in this episode")
        elif inside:
            releases = sum(a.dead_man and not b.dead_man for a, b in itertools.pairwise(inside))
            self._add("dead-man", f"let go {releases} times")

    def _graded(
        self, check: str, value: float, unit: str, bounds: tuple[float, float], hint: str = "", *, rising: bool = True
    ) -> None:
        warn, bad = bounds
        beyond = (value > warn, value > bad) if rising else (value < warn, value < bad)
        level = BAD if beyond[1] else WARN if beyond[0] else OK
        text = f"{value:.0%}" if not unit and isinstance(value, float) else f"{value:.3g} {unit}".strip()
        self._figures[check.replace(" ", "_")] = float(value)
        self._add(check, text, level, hint if level != OK else "")


def compare(reports: Sequence[EpisodeReport]) -> list[EpisodeReport]:
    """The reports, with a warning for each episode whose camera or calibration is not that of most others.

    That is allowed, for the base frame makes views comparable; it is said, because it may be a mistake.
    """
    usual = {
        name: Counter(getattr(report, name) for report in reports).most_common(1)[0][0] if reports else ""
        for name in ("camera", "calibration")
    }
    compared = []
    for report in reports:
        odd = tuple(
            Finding(
                f"{name} of its own", getattr(report, name)[:40] or "none", WARN, f"most episodes have {value[:40]}"
            )
            for name, value in usual.items()
            if getattr(report, name) != value
        )
        compared.append(replace(report, findings=report.findings + odd))
    return compared


def _rate_hz(times_ns: NDArray[np.int64]) -> float:
    return float((len(times_ns) - 1) / ((times_ns[-1] - times_ns[0]) * 1e-9)) if len(times_ns) > 1 else 0.0


def _idle_s(labels: list[Label]) -> tuple[float, float]:
    """Seconds of standing still at head and tail."""
    actions = np.array([label.action for label in labels])
    moves = (np.linalg.norm(actions[:, :3], axis=1) > 5e-4) | (np.linalg.norm(actions[:, 3:6], axis=1) > 2e-3)
    if not moves.any():
        return 0.1 * len(labels), 0.0
    where = np.flatnonzero(moves)
    return 0.1 * float(where[0]), 0.1 * float(len(labels) - 1 - where[-1])
