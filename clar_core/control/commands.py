"""Which commands count: right frame, new, in time, and caused by an observation that is fresh enough."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from numpy.typing import ArrayLike

_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Command:
    """One action as it came from its source, unchecked.

    Attributes:
        values: (7,) translation, rotation vector, gripper.
        source: who commands, for example ``policy``.
        sequence: strictly increasing per source.
        frame_id: frame of the action.
        stamp_ns: time of publication, wall clock.
        observation_stamp_ns: capture time of the observation that caused it, wall clock; 0 when there was none.
    """

    values: ArrayLike
    source: str
    sequence: int
    frame_id: str
    stamp_ns: int
    observation_stamp_ns: int


class Judgement(Enum):
    """What to do with a command."""

    EXECUTE = "execute"
    DROP = "drop"
    HALT = "halt"


@dataclass(frozen=True)
class Verdict:
    """The judgement on one command, with its reason unless it is executed."""

    judgement: Judgement
    reason: str = ""


EXECUTE = Verdict(Judgement.EXECUTE)


@dataclass(frozen=True, kw_only=True)
class CommandLimits:
    """Ages and counts, for a stream at 10 Hz.

    Attributes:
        base_frame: the only frame in which commands are accepted.
        command_age_max_s: a command older than this at arrival is dropped, and a command executed longer ago than this
            has expired.
        observation_drop_age_s: a command caused by an older observation is dropped.
        observation_halt_age_s: a command caused by an even older one halts.
        future_max_s: a stamp further in the future than this halts: some clock is wrong.
        late_in_a_row_max: more late commands in a row than this halt.
        sources_without_observation: sources that may leave the observation stamp empty.
    """

    base_frame: str = "fr3_link0"
    command_age_max_s: float = 0.2
    observation_drop_age_s: float = 0.15
    observation_halt_age_s: float = 0.3
    future_max_s: float = 0.02
    late_in_a_row_max: int = 5
    sources_without_observation: tuple[str, ...] = ("teleop", "replay", "scripted")


class CommandGate:
    """Judges commands one by one; it remembers the last sequence, the last observation and how many came late."""

    def __init__(self, limits: CommandLimits) -> None:
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget the past, as at START and when the owner changes."""
        self._last_sequence: int | None = None
        self._observation_ns = 0
        self._observation_since_s = 0.0
        self._late_in_a_row = 0
        self._executed_observation_s: float | None = None

    @property
    def observation_at_s(self) -> float | None:
        """Monotonic time of the observation behind the last command that was executed; None when it had none."""
        return self._executed_observation_s

    def judge(self, command: Command, wall_ns: int, now_s: float) -> Verdict:
        """Judge a command that arrives at wall time ``wall_ns`` and monotonic time ``now_s``."""
        limits = self.limits
        if command.frame_id != limits.base_frame:
            return _drop(f"frame_id: expected {limits.base_frame!r}, got {command.frame_id!r}")
        if self._last_sequence is not None and command.sequence <= self._last_sequence:
            return _drop(f"sequence {command.sequence} repeats or goes back, the last was {self._last_sequence}")
        self._last_sequence = command.sequence
        observed = command.observation_stamp_ns != 0
        if not observed and command.source not in limits.sources_without_observation:
            return _drop(f"observation_stamp is empty, which {command.source!r} may not leave out")

        newest_ns = max(command.stamp_ns, command.observation_stamp_ns)
        if newest_ns - wall_ns > limits.future_max_s * _NS:
            ahead_ms = (newest_ns - wall_ns) / 1e6
            return _halt(f"a command is stamped {ahead_ms:.0f} ms in the future: compare the machines' clocks (chrony)")
        command_age_s = (wall_ns - command.stamp_ns) / _NS
        observation_age_s = self._observation_age_s(command, wall_ns, now_s) if observed else 0.0
        if observation_age_s > limits.observation_halt_age_s:
            return _halt(
                f"the observation behind a command is {observation_age_s * 1e3:.0f} ms old (at most"
                f" {limits.observation_halt_age_s * 1e3:.0f} ms): is the camera running?"
            )
        if observation_age_s > limits.observation_drop_age_s:
            return self._late(f"its observation is {observation_age_s * 1e3:.0f} ms old")
        if command_age_s > limits.command_age_max_s:
            return self._late(f"it is {command_age_s * 1e3:.0f} ms old")
        self._late_in_a_row = 0
        self._executed_observation_s = now_s - observation_age_s if observed else None
        return EXECUTE

    def _observation_age_s(self, command: Command, wall_ns: int, now_s: float) -> float:
        """Age by stamp, and by how long ago the stamp changed: a source that repeats one observation grows old too."""
        if command.observation_stamp_ns != self._observation_ns:
            self._observation_ns = command.observation_stamp_ns
            self._observation_since_s = now_s
        return max((wall_ns - command.observation_stamp_ns) / _NS, now_s - self._observation_since_s)

    def _late(self, reason: str) -> Verdict:
        self._late_in_a_row += 1
        if self._late_in_a_row > self.limits.late_in_a_row_max:
            return _halt(f"{self._late_in_a_row} late commands in a row, the last because {reason}")
        return _drop(f"late: {reason}")


class ClockWatch:
    """Tells when the wall clock jumps against the monotonic clock, both in seconds."""

    def __init__(self, jump_s: float = 0.02, drift_window_s: float = 1.0) -> None:
        self._jump_s = jump_s
        self._window_s = drift_window_s
        self._anchor: tuple[float, float] | None = None

    def update(self, wall_s: float, now_s: float) -> float | None:
        """The size of a jump in seconds since the last call, or None. Both clocks are read one right after the other.

        The comparison starts afresh after every window, so that slow steering of the clock (NTP) is no jump.
        """
        if self._anchor is None:
            self._anchor = (wall_s, now_s)
            return None
        jump_s = (wall_s - self._anchor[0]) - (now_s - self._anchor[1])
        if abs(jump_s) > self._jump_s or now_s - self._anchor[1] > self._window_s:
            self._anchor = (wall_s, now_s)
        return jump_s if abs(jump_s) > self._jump_s else None


def _drop(reason: str) -> Verdict:
    return Verdict(Judgement.DROP, reason)


def _halt(reason: str) -> Verdict:
    return Verdict(Judgement.HALT, reason)
