"""Who may move the arm, and why it stands still: the state machine around everything that moves.

Pure: it is told what happened and at what monotonic time, and it answers or refuses. The table below is the contract;
the diagram in the documentation is drawn from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum


class Mode(IntEnum):
    """State of the supervisor; the numbers are those of RobotState.msg."""

    DISARMED = 0
    ARMED = 1
    RUNNING = 2
    HALTED = 3


class Event(Enum):
    """What can change the mode."""

    ARM = "arm"
    START = "start"
    STOP = "stop"
    DISARM = "disarm"
    RECOVER = "recover"
    FAULT = "fault"
    IDLE = "idle"


@dataclass(frozen=True)
class Transition:
    """One row of the table: in mode ``source``, ``event`` leads to ``target``."""

    source: Mode
    event: Event
    target: Mode
    meaning: str


TABLE: tuple[Transition, ...] = (
    Transition(Mode.DISARMED, Event.ARM, Mode.ARMED, "the operator arms, and nothing speaks against it"),
    Transition(Mode.ARMED, Event.START, Mode.RUNNING, "one command source becomes the owner"),
    Transition(Mode.ARMED, Event.STOP, Mode.ARMED, "whatever moves (homing) ramps to zero"),
    Transition(Mode.ARMED, Event.DISARM, Mode.DISARMED, "the operator disarms"),
    Transition(Mode.ARMED, Event.IDLE, Mode.DISARMED, "nothing moved for the idle time"),
    Transition(Mode.ARMED, Event.FAULT, Mode.HALTED, "a fault, by name"),
    Transition(Mode.RUNNING, Event.START, Mode.RUNNING, "another source takes over; the loser is told"),
    Transition(Mode.RUNNING, Event.STOP, Mode.ARMED, "stop, trial time limit or success: ramp to zero, gripper kept"),
    Transition(Mode.RUNNING, Event.DISARM, Mode.DISARMED, "the operator disarms: ramp to zero, gripper kept"),
    Transition(Mode.RUNNING, Event.FAULT, Mode.HALTED, "a fault, by name: ramp to zero, gripper kept"),
    Transition(Mode.HALTED, Event.RECOVER, Mode.DISARMED, "the operator recovers the robot from its errors"),
    Transition(Mode.HALTED, Event.DISARM, Mode.DISARMED, "the operator acknowledges"),
)

_TARGETS = {(row.source, row.event): row.target for row in TABLE}


class RefusedError(RuntimeError):
    """A request that the supervisor refuses; the text says why and what to do instead."""


@dataclass(frozen=True)
class Change:
    """A transition that took place at a monotonic time, with its cause and the owner after and before it."""

    source: Mode
    event: Event
    target: Mode
    reason: str
    owner: str
    previous_owner: str
    at_s: float

    def __str__(self) -> str:
        owner = f"({self.owner})" if self.owner else ""
        return f"{self.source.name} -> {self.target.name}{owner}: {self.reason}"


class Supervisor:
    """The state machine. ``on_change`` is called with every transition, in the thread that caused it."""

    def __init__(self, idle_disarm_s: float = 60.0, on_change: Callable[[Change], None] | None = None) -> None:
        self._idle_disarm_s = idle_disarm_s
        self._on_change = on_change
        self._mode = Mode.DISARMED
        self._owner = ""
        self._reason = "not armed yet"
        self._active_at_s = 0.0

    @property
    def mode(self) -> Mode:
        """The present mode."""
        return self._mode

    @property
    def owner(self) -> str:
        """The command source that owns the arm while RUNNING, else empty."""
        return self._owner

    @property
    def reason(self) -> str:
        """Why the supervisor is in this mode: the cause of the last transition."""
        return self._reason

    def arm(self, now_s: float, objections: Iterable[str] = ()) -> Change:
        """DISARMED -> ARMED, unless something speaks against it.

        Raises:
            RefusedError: wrong mode, or an objection; the text lists all of them.
        """
        if self._mode is Mode.HALTED:
            raise RefusedError(f"cannot arm while HALTED ({self._reason}): run `clar recover` first")
        self._check(Event.ARM)
        problems = list(objections)
        if problems:
            raise RefusedError("cannot arm: " + "; ".join(problems))
        return self._go(Event.ARM, "armed by the operator", now_s)

    def start(self, owner: str, now_s: float, objections: Iterable[str] = ()) -> Change:
        """ARMED -> RUNNING(owner), or take over from the present owner.

        Raises:
            RefusedError: not armed, no owner named, or an objection.
        """
        if not owner:
            raise RefusedError("cannot start: name the command source that shall own the arm, for example `policy`")
        self._check(Event.START)
        problems = list(objections)
        if problems:
            raise RefusedError("cannot start: " + "; ".join(problems))
        if self._mode is Mode.RUNNING and self._owner != owner:
            return self._go(Event.START, f"{owner} took over from {self._owner}", now_s, owner)
        return self._go(Event.START, f"started for {owner}", now_s, owner)

    def stop(self, reason: str, now_s: float) -> Change | None:
        """Stop what moves. Always succeeds; None in DISARMED and HALTED, where nothing moves."""
        return self._go(Event.STOP, reason, now_s) if (self._mode, Event.STOP) in _TARGETS else None

    def disarm(self, reason: str, now_s: float) -> Change | None:
        """Any mode -> DISARMED. Always succeeds; None when it was DISARMED already."""
        return self._go(Event.DISARM, reason, now_s) if (self._mode, Event.DISARM) in _TARGETS else None

    def recover(self, now_s: float) -> Change:
        """HALTED -> DISARMED, after the robot's errors were cleared. Raises RefusedError in any other mode."""
        self._check(Event.RECOVER)
        return self._go(Event.RECOVER, f"recovered from: {self._reason}", now_s)

    def halt(self, reason: str, now_s: float) -> Change | None:
        """A fault. None in DISARMED, where nothing can move, and in HALTED, whose first cause is kept."""
        return self._go(Event.FAULT, reason, now_s) if (self._mode, Event.FAULT) in _TARGETS else None

    def keep_awake(self, now_s: float) -> None:
        """Something moves while ARMED (homing): the idle time starts again."""
        self._active_at_s = now_s

    def tick(self, now_s: float) -> Change | None:
        """Disarm after the idle time."""
        if self._mode is Mode.ARMED and now_s - self._active_at_s >= self._idle_disarm_s:
            return self._go(Event.IDLE, f"armed and idle for {self._idle_disarm_s:g} s", now_s)
        return None

    def _check(self, event: Event) -> None:
        if (self._mode, event) in _TARGETS:
            return
        allowed = ", ".join(row.source.name for row in TABLE if row.event is event)
        hint = {
            Mode.DISARMED: "run `clar arm` first",
            Mode.ARMED: "it is armed already",
            Mode.RUNNING: f"it is running for {self._owner}; run `clar stop` first",
            Mode.HALTED: f"it is halted ({self._reason}); run `clar recover`, then `clar arm`",
        }[self._mode]
        if self._mode is Mode.DISARMED and event is Event.RECOVER:
            hint = "there is nothing to recover from"
        raise RefusedError(f"cannot {event.value} while {self._mode.name}, only while {allowed}: {hint}")

    def _go(self, event: Event, reason: str, now_s: float, owner: str = "") -> Change:
        change = Change(self._mode, event, _TARGETS[self._mode, event], reason, owner, self._owner, now_s)
        self._mode, self._owner, self._reason, self._active_at_s = change.target, owner, reason, now_s
        if self._on_change is not None:
            self._on_change(change)
        return change


def mermaid(table: Iterable[Transition] = TABLE) -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> DISARMED"]
    lines += [f"    {row.source.name} --> {row.target.name}: {row.event.value}" for row in table]
    return "\n".join(lines)


def markdown(table: Iterable[Transition] = TABLE) -> str:
    """The table as Markdown, for the documentation."""
    lines = ["| from | event | to | meaning |", "|---|---|---|---|"]
    lines += [f"| {row.source.name} | {row.event.value} | {row.target.name} | {row.meaning} |" for row in table]
    return "\n".join(lines)
