"""The policy's steady clock: which tick a timer callback serves, which ones were missed, what a tick waits for, and how
a series of steps is paced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_FEWEST_ARRIVALS = 5
_CATCH_UP_S = 0.01


@dataclass(frozen=True)
class Tick:
    """One tick of the clock.

    Attributes:
        due_s: when the tick was due, on the clock that was given.
        missed_s: when the ticks since the last one were due that nobody served, oldest first.
    """

    due_s: float
    missed_s: tuple[float, ...] = ()


class TickClock:
    """Ticks at ``start_s + k period_s``, k = 1, 2, ...; a late callback serves the newest tick that is due."""

    def __init__(self, period_s: float, start_s: float) -> None:
        self._period_s = period_s
        self._start_s = start_s
        self._last = 0

    def serve(self, now_s: float) -> Tick | None:
        """The tick that is due now, None when the last one that was due has been served already."""
        newest = math.floor((now_s - self._start_s) / self._period_s)
        if newest <= self._last:
            return None
        missed = tuple(self._due(index) for index in range(self._last + 1, newest))
        self._last = newest
        return Tick(self._due(newest), missed)

    def _due(self, index: int) -> float:
        return self._start_s + index * self._period_s


def aligned_start(arrivals_s: Iterable[float], margin_s: float, now_s: float) -> float:
    """When to start a clock so that its ticks come shortly after observations do.

    Observations arrive at a rate of which the ticks' is a divisor; without this the time that the newest one has waited
    at a tick is anything up to a period of the camera, by chance of when the process started. The middle half
    of all arrivals counts, so that one late arrival moves nothing.

    Args:
        arrivals_s: when the latest observations came, oldest first, on the clock of ``now_s``.
        margin_s: from the expected arrival to the tick; what the arrivals jitter by.
        now_s: the start is at or after this.
    """
    times_s = np.asarray(list(arrivals_s), dtype=np.float64)
    if len(times_s) < _FEWEST_ARRIVALS:
        return now_s
    gaps_s = np.diff(times_s)
    if not np.median(gaps_s) > 0.0:
        return now_s
    # A lost frame is a gap of two.
    frames = np.concatenate([[0.0], np.cumsum(np.rint(gaps_s / np.median(gaps_s)))])
    half = len(times_s) // 2
    period_s = float(np.median((times_s[half:] - times_s[:-half]) / (frames[half:] - frames[:-half])))
    newest_s = np.sort(times_s - period_s * (frames - frames[-1]))[half // 2 : -(half // 2)].mean()
    first_s = newest_s + margin_s
    return float(first_s + math.ceil(max(0.0, now_s - first_s) / period_s) * period_s)


def awaited_until(arrivals_s: Sequence[float], margin_s: float, now_s: float) -> float | None:
    """Until when a tick at ``now_s`` should wait for a newer observation; None when the newest one is fresh.

    Once it has been there for more than half a period of the camera, the next is the nearer one: it was due before the
    tick and is late, or the camera's clock has drifted against the ticks'. Waiting costs half a period and the margin
    at most; not waiting costs the action a whole period of age.

    Args:
        arrivals_s: when the latest observations came, oldest first, on the clock of ``now_s``.
        margin_s: how much later than a period after the newest the next may come; after that a frame is lost.
        now_s: the time of the tick.
    """
    if len(arrivals_s) < _FEWEST_ARRIVALS:
        return None
    period_s = float(np.median(np.diff(np.asarray(arrivals_s, dtype=np.float64))))
    until_s = arrivals_s[-1] + period_s + margin_s
    return until_s if arrivals_s[-1] + period_s / 2 < now_s < until_s else None


def paced(due_s: float, pause_s: float, now_s: float) -> float:
    """When to send the next of a series of steps, s, after one that was due at ``due_s`` and was sent at ``now_s``.

    A delay of more than 10 ms moves all later steps: steps sent at once, to catch up, would be too fast, or lost.
    """
    return max(due_s, now_s - _CATCH_UP_S) + pause_s
