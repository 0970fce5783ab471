"""Unattended collection in the simulated cell: the expert gives demonstrations through the same nodes as an operator.

For every seed: open the gripper, go home, put the objects out, START, wander off to a random start, begin the episode,
do the task, STOP, end the episode with the verdict of the simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clar.calls import CallError, wait_until
from clar.live_cell import LiveCell

_POLL_S = 0.02
_WANDER_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What to collect: task, sentence, who, limits in seconds, how long to go on after success."""

    task: str
    instructions: tuple[str, ...]
    operator_name: str
    time_limit_s: float
    linger_s: float


class CollectionError(RuntimeError):
    """No further episode can be recorded; the text says why."""


class Collector:
    """Runs episodes one after the other.

    Args:
        cell: the live cell, whose source is the expert's.
        begin: called with a seed before the arm starts; the expert then wanders to its start.
        arrived: whether it is there.
        act: called when the episode begins: from now on the expert does the task.
        cancelled: whether the process ends.
    """

    def __init__(
        self,
        cell: LiveCell,
        config: Collection,
        *,
        begin: Callable[[int], None],
        arrived: Callable[[], bool],
        act: Callable[[], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._cell = cell
        self._config = config
        self._begin = begin
        self._arrived = arrived
        self._act = act
        self._cancelled = cancelled

    def run(self, seeds: Iterable[int], count: int, say: Callable[[str], None]) -> tuple[int, int]:
        """Record until ``count`` episodes succeeded; returns (successes, episodes tried).

        Raises:
            CollectionError: the cell could not be prepared, the recorder refused, or the arm stopped too often.
        """
        successes = tried = failures_in_a_row = 0
        for seed in seeds:
            if successes >= count or self._cancelled():
                break
            tried += 1
            try:
                success, text = self.one(seed)
            except CallError as error:
                raise CollectionError(f"seed {seed}: {error}") from error
            successes += success
            failures_in_a_row = 0 if success else failures_in_a_row + 1
            say(f"{successes} of {count}: seed {seed}, {text}")
            if failures_in_a_row >= 5:
                raise CollectionError(f"five failures in a row, the last: {text}")
        return successes, tried

    def one(self, seed: int) -> tuple[bool, str]:
        """One episode: whether it succeeded, and a sentence. Raises CallError when the cell says no."""
        c, cell = self._config, self._cell
        cell.make_armed()
        cell.open_gripper()
        cell.home()
        cell.reset(c.task, seed)
        self._begin(seed)
        cell.start()
        try:
            if not wait_until(self._arrived, _WANDER_S, self._over):
                return False, f"did not reach its start: {cell.not_running() or 'too slow'}"
            cell.start_episode(c.task, c.instructions[seed % len(c.instructions)], seed, c.operator_name)
            started_s = time.monotonic()
            self._act()
            success, reason = self._watch(started_s)
            duration_s = time.monotonic() - started_s
        finally:
            cell.stop()
        # An interrupted episode is not one.
        path = cell.end_episode(None if self._cancelled() else success)
        return success, f"{reason}, {duration_s:.1f} s, {path}"

    def _over(self) -> bool:
        return self._cancelled() or self._cell.not_running() is not None

    def _watch(self, started_s: float) -> tuple[bool, str]:
        c, cell = self._config, self._cell
        while time.monotonic() - started_s < c.time_limit_s:
            if cell.verdict():
                wait_until(self._over, c.linger_s)
                return True, "success"
            if self._cancelled():
                return False, "called off"
            if stopped := cell.not_running():
                return False, stopped
            time.sleep(_POLL_S)
        return False, f"time limit of {c.time_limit_s:g} s"
