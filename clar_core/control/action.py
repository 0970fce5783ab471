"""The 7-D action: what one 10 Hz step of a policy, an operator or a recording asks of the arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.geometry import poses

Array = NDArray[np.float64]

ACTION_SIZE = 7
STEP_PERIOD_S = 0.1
"""One action covers 100 ms: policies tick at 10 Hz."""


class InvalidActionError(ValueError):
    """The action has the wrong shape or a number that is not finite; it must be dropped whole, never repaired."""


@dataclass(frozen=True, eq=False)
class Action:
    """One step of the TCP in the base frame, and the gripper's absolute target.

    Attributes:
        translation: (3,) float64, metres, added to the commanded position.
        rotation: (3,) float64, rotation vector in radians, applied from the left: ``R_next = exp(rotation) R_now``.
        gripper: absolute target, 0 closed to 1 open. Values outside (a regression overshoots) mean the nearer end.

    Raises:
        InvalidActionError: wrong shape, or NaN or Inf anywhere.
    """

    translation: Array
    rotation: Array
    gripper: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "translation", _checked(self.translation, "translation"))
        object.__setattr__(self, "rotation", _checked(self.rotation, "rotation"))
        gripper = float(self.gripper)
        if not np.isfinite(gripper):
            raise InvalidActionError(f"action gripper: expected a finite number in 0..1, got {gripper}")
        object.__setattr__(self, "gripper", gripper)

    @classmethod
    def from_array(cls, values: ArrayLike) -> Action:
        """Action of a (7,) array: translation 3, rotation vector 3, gripper 1.

        Raises:
            InvalidActionError: wrong shape, not numbers, or NaN or Inf anywhere.
        """
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidActionError(f"action: expected {ACTION_SIZE} numbers, got {values!r}") from error
        if array.shape != (ACTION_SIZE,):
            raise InvalidActionError(f"action: expected shape ({ACTION_SIZE},), got {array.shape}")
        return cls(array[:3], array[3:6], array[6])

    @classmethod
    def hold(cls, gripper: float) -> Action:
        """The action that stays where it is, with the given gripper target."""
        return cls(np.zeros(3), np.zeros(3), gripper)

    def to_array(self) -> Array:
        """(7,) float64: translation, rotation vector, gripper."""
        return np.concatenate([self.translation, self.rotation, [self.gripper]])

    def applied_to(self, T_base_tcp: Array) -> Array:
        """The (4, 4) pose after this step from the given one, re-orthonormalised."""
        return poses.apply_delta(T_base_tcp, self.translation, self.rotation)

    def scaled(self, translation: float, rotation: float) -> Action:
        """The same step with its translation and its rotation each multiplied by a factor."""
        return Action(self.translation * translation, self.rotation * rotation, self.gripper)


def _checked(values: ArrayLike, name: str) -> Array:
    array = np.array(values, dtype=np.float64)
    if array.shape != (3,):
        raise InvalidActionError(f"action {name}: expected shape (3,), got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidActionError(f"action {name}: expected finite numbers, got {array}")
    return array


class GripperHysteresis:
    """Absolute gripper targets (0 closed, 1 open) to open or close, without chatter.

    Below ``close_below`` asks to close, above ``open_above`` to open, between them asks for nothing. A change is made
    when ``dwell_ticks`` consecutive ticks ask for it.
    """

    def __init__(
        self, target: bool, *, close_below: float = 0.4, open_above: float = 0.6, dwell_ticks: int = 2
    ) -> None:
        """Start from the gripper's present state: ``target`` is True when it is open."""
        self._close_below = close_below
        self._open_above = open_above
        self._dwell_ticks = dwell_ticks
        self.reset(target)

    @property
    def is_open(self) -> bool:
        """Whether the target is open."""
        return self._is_open

    @property
    def target(self) -> float:
        """The target after hysteresis: 0.0 closed, 1.0 open."""
        return 1.0 if self._is_open else 0.0

    def reset(self, target: bool) -> None:
        """Take the gripper's present state (True: open) as the target, as at START and when the owner changes."""
        self._is_open = bool(target)
        self._asking = 0

    def update(self, gripper: float) -> float:
        """Feed one tick's target and return the target after hysteresis: 0.0 closed, 1.0 open."""
        asks_for_change = gripper < self._close_below if self._is_open else gripper > self._open_above
        self._asking = self._asking + 1 if asks_for_change else 0
        if self._asking >= self._dwell_ticks:
            self._is_open = not self._is_open
            self._asking = 0
        return self.target
