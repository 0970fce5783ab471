"""One trial of the policy on the live arm: prepare, START, watch, STOP; and what came of it.

The order is fixed: open the gripper, go home, put the objects out, then START. Whatever happens in between, the arm is
told to STOP at the end, the gripper keeps what it holds, and the arm is left ARMED.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from clar.calls import CallError

_POLL_S = 0.02
_REPORT_S = 0.5


class AbortedError(RuntimeError):
    """The remaining trials cannot be run; the text says why and what the operator can do."""


class Cell(Protocol):
    """What a trial needs of the live cell. Calls block; CallError when the cell says no."""

    def make_armed(self) -> None:
        """See to it that the arm is ARMED."""

    def open_gripper(self) -> None:
        """Open the gripper."""

    def home(self) -> None:
        """Move the arm home, slowly."""

    def reset(self, task: str, seed: int) -> None:
        """Put the objects out."""

    def start(self) -> None:
        """START for the policy."""

    def stop(self) -> None:
        """STOP; never raises."""

    def verdict(self) -> bool | None:
        """True on success, False on failure as the operator sees it, None while open."""

    def not_running(self) -> str | None:
        """Why the arm does not execute the policy any more; None while it does."""


@dataclass(frozen=True)
class TrialResult:
    """Outcome of one trial. ``duration_s`` is the time between START and the verdict."""

    success: bool
    duration_s: float
    reason: str


def run_trial(
    cell: Cell,
    *,
    task: str,
    seed: int,
    time_limit_s: float,
    cancelled: Callable[[], bool],
    report: Callable[[str, float], None],
) -> TrialResult:
    """Run one trial.

    Args:
        cell: the live cell.
        task: task to put out; empty keeps the present one.
        seed: of the objects' start.
        time_limit_s: seconds from START after which the trial has failed.
        cancelled: whether the operator has called the trials off.
        report: receives the phase ("home", "reset", "running", "done") and the seconds since START.

    Raises:
        AbortedError: the cell could not be prepared, so further trials make no sense, or the trials were called off.
    """
    try:
        report("home", 0.0)
        cell.make_armed()
        cell.open_gripper()
        cell.home()
        report("reset", 0.0)
        cell.reset(task, seed)
    except CallError as error:
        raise AbortedError(str(error)) from error
    try:
        cell.start()
    except CallError as error:
        cell.stop()  # a START without an answer may have been executed all the same
        raise AbortedError(str(error)) from error
    start_s = time.monotonic()
    try:
        success, reason = _watch(cell, start_s, time_limit_s, cancelled, report)
    finally:
        duration_s = time.monotonic() - start_s
        cell.stop()
    report("done", duration_s)
    return TrialResult(success, duration_s, reason)


def _watch(
    cell: Cell,
    start_s: float,
    time_limit_s: float,
    cancelled: Callable[[], bool],
    report: Callable[[str, float], None],
) -> tuple[bool, str]:
    reported_s = -_REPORT_S
    while True:
        elapsed_s = time.monotonic() - start_s
        if elapsed_s - reported_s >= _REPORT_S:
            report("running", elapsed_s)
            reported_s = elapsed_s
        verdict = cell.verdict()
        if verdict is not None:
            return verdict, "success" if verdict else "marked as failure by the operator"
        if cancelled():
            raise AbortedError("called off")
        if stopped := cell.not_running():
            return False, stopped
        if elapsed_s > time_limit_s:
            return False, f"time limit of {time_limit_s:g} s"
        time.sleep(_POLL_S)
