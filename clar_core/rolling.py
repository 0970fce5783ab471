"""What a policy carries from tick to tick: the last observations, and the actions that it planned ahead."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_FORGETTING = 0.25
"""Weight of a plan falls by exp(-this) with every tick of its age."""


class Plans(Protocol):
    """How the actions of plans become those of ticks."""

    @property
    def wants_plan(self) -> bool:
        """Whether the next action takes a new plan."""

    def clear(self) -> None:
        """Forget everything: a trial begins."""

    def next_action(self, plan: Array | None) -> Array:
        """The action (7,) of this tick, in metres and radians; ``plan`` is None where none is wanted."""


class ObservationMemory:
    """The last ``history`` observations, the present one last; before there are so many, the first one is repeated."""

    def __init__(self, history: int) -> None:
        self._history = history
        self._seen: deque[tuple[NDArray[Any], Array]] = deque(maxlen=history)

    def clear(self) -> None:
        """Forget everything: a trial begins."""
        self._seen.clear()

    def extended(self, seen: NDArray[Any], state: Array) -> tuple[NDArray[Any], Array]:
        """Remember points (N, 3) or an image (S, S, 3), and a state (10,); returns all, (history, ...) each.

        Without a history they come back as they are.
        """
        if self._history == 1:
            return seen, state
        self._seen.append((seen, state))
        all_seen = [self._seen[0]] * (self._history - len(self._seen)) + list(self._seen)
        return np.stack([seen for seen, _ in all_seen]), np.stack([state for _, state in all_seen])


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

    @property
    def wants_plan(self) -> bool:
        """Always: it plans anew at every tick."""
        return True

    def next_action(self, plan: Array | None) -> Array:
        """The action (7,) of this tick from a new plan (chunk, 7), in metres and radians; (7,) without chunks.

        The gripper is the new plan's alone: an average of open and closed is neither.
        """
        assert plan is not None, "a plan is wanted at every tick"
        if self._chunk == 1:
            return plan
        self._plans.appendleft(plan)
        weights = np.exp(-_FORGETTING * np.arange(len(self._plans), dtype=np.float32))
        due = np.stack([earlier[age] for age, earlier in enumerate(self._plans)])
        action = (weights[:, None] * due).sum(axis=0) / weights.sum()
        action[6] = plan[0, 6]
        return np.asarray(action, dtype=np.float32)


class PlanQueue:
    """Follows the first ``execute`` actions of a plan before it wants the next one.

    For plans that are drawn at random: the average of two ways around an obstacle leads into it.
    """

    def __init__(self, execute: int) -> None:
        self._execute = execute
        self._due: deque[Array] = deque()

    def clear(self) -> None:
        """Forget everything: a trial begins."""
        self._due.clear()

    @property
    def wants_plan(self) -> bool:
        """Whether the next action takes a new plan."""
        return not self._due

    def next_action(self, plan: Array | None) -> Array:
        """The action (7,) of this tick; a new plan (chunk, 7), or (7,) without chunks, exactly when one is wanted."""
        if self.wants_plan:
            assert plan is not None, "a plan is wanted"
            self._due.extend(np.atleast_2d(plan)[: self._execute])
        return self._due.popleft()
