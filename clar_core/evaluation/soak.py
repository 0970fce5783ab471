"""Checks the log of a soak run: no motion where none is allowed, every fault answered, nothing died, no memory grew.

The log is JSON lines, each with a ``kind`` and a wall time ``t_s``:

- ``state``: ``mode``, ``reason``, ``commanded`` and ``measured`` (norms of the TCP's linear velocity, m/s; the latter
  null while the robot is not connected);
- ``fault``: ``name`` and ``expects``, one of ``EXPECTATIONS``;
- ``motion``: a slow way by request, from ``start_s`` to ``end_s``: motion while ARMED is allowed then;
- ``memory``: ``mib`` by process;
- ``death``: ``process``, ``intended``;
- ``note``: ``text``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

EXPECTATIONS = ("halts", "stops", "disarms", "ignored")
_MODES = ("DISARMED", "ARMED", "RUNNING", "HALTED")
_DISARMED, _ARMED, _RUNNING, _HALTED = range(4)
_SILENCE_S, _SOON_S = 0.5, 1.5
_STILL_COMMANDED_M_S = 1e-6
_STILL_MEASURED_M_S = 0.01


@dataclass(frozen=True)
class State:
    """The arm at one moment: wall time, mode as RobotState numbers it, its cause, speeds in m/s (NaN: not measured)."""

    t_s: float
    mode: int
    reason: str
    commanded: float
    measured: float


@dataclass(frozen=True)
class Fault:
    """One injected fault: when, what, and what must come of it."""

    t_s: float
    name: str
    expects: str


@dataclass
class SoakLog:
    """A run's log, sorted by kind."""

    states: list[State] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    motions: list[tuple[float, float]] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    deaths: list[tuple[float, str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class SoakLogError(ValueError):
    """The log cannot be read; the text names the line."""


def load(path: Path) -> SoakLog:
    """Read a log. Raises SoakLogError naming the line that is no entry; a last line that was cut off is left out."""
    log = SoakLog()
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            _take(log, json.loads(line))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise SoakLogError(f"{path}, line {number}: expected an entry of a soak log, got {line[:80]!r}") from error
    return log


def _take(log: SoakLog, entry: dict[str, Any]) -> None:
    kind, t_s = entry["kind"], float(entry["t_s"])
    if kind == "state":
        measured = np.nan if entry["measured"] is None else float(entry["measured"])
        log.states.append(State(t_s, entry["mode"], entry["reason"], entry["commanded"], measured))
    elif kind == "fault":
        log.faults.append(Fault(t_s, entry["name"], entry["expects"]))
    elif kind == "motion":
        log.motions.append((entry["start_s"], entry["end_s"]))
    elif kind == "memory":
        for process, mib in entry["mib"].items():
            log.memory.setdefault(process, []).append((t_s, mib))
    elif kind == "death":
        log.deaths.append((t_s, entry["process"], entry["intended"]))
    elif kind == "note":
        log.notes.append(entry["text"])
    else:
        raise KeyError(kind)


def forbidden_motion(log: SoakLog, grace_s: float = 0.6) -> list[str]:
    """States that move although their mode forbids it, after the time that a ramp to rest takes."""
    found = []
    allowed_until_s = -np.inf
    for state in log.states:
        if state.mode == _RUNNING:
            allowed_until_s = state.t_s + grace_s
            continue
        on_its_way = state.mode == _ARMED and any(
            start_s - 0.1 <= state.t_s <= end_s + grace_s for start_s, end_s in log.motions
        )
        if state.t_s <= allowed_until_s or on_its_way:
            continue
        if state.commanded > _STILL_COMMANDED_M_S or state.measured > _STILL_MEASURED_M_S:
            found.append(
                f"{state.t_s:.2f} s: {_MODES[state.mode]}, commanded {state.commanded * 1e3:.1f} mm/s,"
                f" measured {state.measured * 1e3:.1f} mm/s ({state.reason})"
            )
    return found


def unanswered_faults(log: SoakLog, within_s: float = 4.0) -> list[str]:
    """Faults after which what must happen did not happen in time."""
    found = []
    for fault in log.faults:
        after = [state for state in log.states if fault.t_s < state.t_s <= fault.t_s + within_s]
        modes = {state.mode for state in after}
        still = any(state.commanded <= _STILL_COMMANDED_M_S for state in after)
        silent = not after or after[-1].t_s < fault.t_s + _SILENCE_S  # a node that was killed says nothing any more
        soon = {state.mode for state in after if state.t_s < fault.t_s + _SOON_S}
        answered = {
            "halts": _HALTED in modes,
            "stops": still or silent,
            "disarms": _DISARMED in modes or silent,
            "ignored": soon == {_RUNNING},
        }[fault.expects]
        if not answered:
            seen = ", ".join(_MODES[mode] for mode in sorted(modes)) or "no states"
            found.append(f"{fault.t_s:.2f} s: {fault.name} should be one that {fault.expects}, seen: {seen}")
    return found


def time_to_zero_s(log: SoakLog, names: Iterable[str]) -> list[float]:
    """Seconds from each fault of these names, injected in motion, to zero commanded velocity."""
    wanted, times = set(names), []
    for fault in log.faults:
        before = [state for state in log.states if fault.t_s - 0.3 < state.t_s <= fault.t_s]
        if fault.name not in wanted or not before or before[-1].commanded <= _STILL_COMMANDED_M_S:
            continue
        after = (s.t_s for s in log.states if s.t_s > fault.t_s and s.commanded <= _STILL_COMMANDED_M_S)
        stopped_s = next(after, None)
        if stopped_s is not None:
            times.append(stopped_s - fault.t_s)
    return times


def memory_growth_mib(samples: Sequence[tuple[float, float]], warm_up_s: float) -> float:
    """Growth of a process over the run after its warm-up: the median of the last third less that of the first."""
    settled = [mib for t_s, mib in samples if t_s >= samples[0][0] + warm_up_s]
    third = len(settled) // 3
    if third == 0:
        return 0.0
    return float(np.median(settled[-third:]) - np.median(settled[:third]))
