"""The robot's state at the instant of a depth image, from the states measured around it."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.poses import interpolate
from clar_core.observation.spec import ObservationSpec


class StateGapError(LookupError):
    """No robot states close enough around a capture stamp to interpolate between."""


@dataclass(frozen=True)
class StampedState:
    """One measured robot state: stamp in nanoseconds, T_base_tcp (4, 4), gripper width in metres."""

    stamp_ns: int
    T_base_tcp: NDArray[np.float64]
    gripper_width_m: float


def interpolate_state(before: StampedState, after: StampedState, stamp_ns: int, spec: ObservationSpec) -> StampedState:
    """The state at a stamp between two measured ones: pose along the geodesic, width linear. Never extrapolates.

    Raises:
        StateGapError: the stamp is not between the two, or farther than ``spec.state_gap_max_s`` from either.
    """
    if not before.stamp_ns <= stamp_ns <= after.stamp_ns:
        raise StateGapError(
            f"robot state: stamp {stamp_ns} ns is not between the states of {before.stamp_ns} and {after.stamp_ns} ns"
        )
    gap_s = max(stamp_ns - before.stamp_ns, after.stamp_ns - stamp_ns) * 1e-9
    if before.stamp_ns == stamp_ns:
        return before
    if after.stamp_ns == stamp_ns:
        return after
    if gap_s > spec.state_gap_max_s:
        raise StateGapError(
            f"robot state: nearest measured states are {gap_s * 1e3:.1f} ms from the depth image, expected at most "
            f"{spec.state_gap_max_s * 1e3:.1f} ms; are the clocks of camera and robot the same, is the robot at 100 Hz?"
        )
    fraction = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    width = before.gripper_width_m + fraction * (after.gripper_width_m - before.gripper_width_m)
    return StampedState(stamp_ns, interpolate(before.T_base_tcp, after.T_base_tcp, fraction), width)


class StateBuffer:
    """The newest robot states in order of time, safe to fill from one thread and to ask from another.

    Args:
        spec: for the largest gap.
        capacity: states kept; 200 are two seconds at 100 Hz.
    """

    def __init__(self, spec: ObservationSpec, capacity: int = 200) -> None:
        if capacity < 2:
            raise ValueError(f"capacity: expected at least 2 states to interpolate between, got {capacity}")
        self._spec = spec
        self._states: deque[StampedState] = deque(maxlen=capacity)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    def append(self, state: StampedState) -> bool:
        """Add a state; one that is not newer than the last is ignored, and False returned."""
        with self._lock:
            if self._states and state.stamp_ns <= self._states[-1].stamp_ns:
                return False
            self._states.append(state)
            return True

    def clear(self) -> None:
        """Forget all states, as after a clock jump."""
        with self._lock:
            self._states.clear()

    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest state, None when there is none."""
        with self._lock:
            return self._states[-1].stamp_ns if self._states else None

    def at(self, stamp_ns: int) -> StampedState:
        """The state at a stamp.

        Raises:
            StateGapError: as :func:`interpolate_state`, or the buffer does not reach around the stamp.
        """
        with self._lock:
            states = list(self._states)
        after = bisect.bisect_left(states, stamp_ns, key=lambda state: state.stamp_ns)
        if after < len(states) and states[after].stamp_ns == stamp_ns:
            return states[after]
        if not 0 < after < len(states):
            held = f"{states[0].stamp_ns} to {states[-1].stamp_ns} ns" if states else "none received yet"
            raise StateGapError(
                f"robot state: none around stamp {stamp_ns} ns (held: {held}); is the arm node running?"
            )
        return interpolate_state(states[after - 1], states[after], stamp_ns, self._spec)
