"""What a policy carries from tick to tick: the last observations, and the actions that it planned ahead."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_FORGETTING = 0.25
"""Weight of a plan falls by exp(-this) with every tick of its age."""


class ObservationMemory:
    """The last ``history`` observations, the present one last; before there are so many, the first one is repeated."""

    def __init__(self, history: int) -> None:
        self._history = history
        self._seen: deque[tuple[Array, Array]] = deque(maxlen=history)

    def clear(self) -> None:
        """Forget everything: a trial begins."""
        self._seen.clear()

    def extended(self, points: Array, state: Array) -> tuple[Array, Array]:
        """Remember points (N, 3) and state (10,); returns all of them, (history, N, 3) and (history, 10).

        Without a history they come back as they are.
        """
        if self._history == 1:
            return points, state
        self._seen.append((points, state))
        seen = [self._seen[0]] * (self._history - len(self._seen)) + list(self._seen)
        return np.stack([points for points, _ in seen]), np.stack([state for _, state in seen])


class ActionPlans:
    """Averages what the last plans say about the present tick, newer ones more.

    A policy with chunks plans anew at every tick, so up to ``chunk`` plans speak about each. Zhao et al., RSS 2023,
    call it temporal ensembling; they weigh older plans more, which suits a robot at 50 Hz, not one at 10.
    """

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._plans: deque[Array] = deque(maxlen=chunk)

    def clear(self) -> None:
        """Forget everything: a trial begins."""
        self._plans.clear()

    def next_action(self, plan: Array) -> Array:
        """The action (7,) of this tick from a new plan (chunk, 7), in metres and radians; (7,) without chunks.

        The gripper is the new plan's alone: an average of open and closed is neither.
        """
        if self._chunk == 1:
            return plan
        self._plans.appendleft(plan)
        weights = np.exp(-_FORGETTING * np.arange(len(self._plans), dtype=np.float32))
        due = np.stack([earlier[age] for age, earlier in enumerate(self._plans)])
        action = (weights[:, None] * due).sum(axis=0) / weights.sum()
        action[6] = plan[0, 6]
        return np.asarray(action, dtype=np.float32)
