"""Means and deviations of states and actions: what the network's numbers mean in metres and radians."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# A task with almost no variance in one number would otherwise turn a hair's breadth into many deviations.
STATE_STD_FLOOR = np.array([0.01] * 3 + [0.03] * 6 + [0.005 / 0.08], dtype=np.float32)
"""1 cm for the position, 0.03 for the rotation columns, 5 mm of gripper width (whose unit is 80 mm)."""

ACTION_STD_FLOOR = np.array([0.001] * 3 + [0.005] * 3, dtype=np.float32)
"""1 mm and 5 mrad."""

STATE_CLIP = 5.0

_SIZES = {"state_mean": 10, "state_std": 10, "action_mean": 6, "action_std": 6}


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Affine maps between physical and network units.

    Attributes:
        state_mean, state_std: (10,) float32. Normalised states are clipped to +-5.
        action_mean, action_std: (6,) float32, of translation (m) and rotation (rad). The gripper is not normalised.

    Raises:
        ValueError: a field of the wrong size, not finite, or with a deviation of 0 or less; named.
    """

    state_mean: Array
    state_std: Array
    action_mean: Array
    action_std: Array

    def __post_init__(self) -> None:
        for name, size in _SIZES.items():
            try:
                value = np.asarray(getattr(self, name), dtype=np.float32)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: expected {size} numbers, got {getattr(self, name)!r}") from error
            if value.shape != (size,):
                raise ValueError(f"{name}: expected {size} numbers, got shape {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name}: expected finite numbers, got {value}")
            if name.endswith("_std") and not (value > 0).all():
                raise ValueError(f"{name}: expected positive deviations, got {value}")
            object.__setattr__(self, name, value)

    @classmethod
    def fit(cls, states: Array, actions: Array) -> Normalizer:
        """Statistics of states (n, 10) and actions (n, 7), with the floors."""
        if len(states) == 0:
            raise ValueError("states: expected at least one to fit a normaliser to, got none")
        motion = actions[:, :6].astype(np.float64)
        states = states.astype(np.float64)  # type: ignore[assignment]
        return cls(
            state_mean=states.mean(0).astype(np.float32),
            state_std=np.maximum(states.std(0), STATE_STD_FLOOR).astype(np.float32),
            action_mean=motion.mean(0).astype(np.float32),
            action_std=np.maximum(motion.std(0), ACTION_STD_FLOOR).astype(np.float32),
        )

    def normalise_state(self, state: Array) -> Array:
        """States (..., 10) in physical units to network units, clipped."""
        return np.clip((state - self.state_mean) / self.state_std, -STATE_CLIP, STATE_CLIP)

    def normalise_action(self, action: Array) -> Array:
        """Actions (..., 7) in metres and radians to the network's targets; the gripper stays in [0, 1]."""
        motion = (action[..., :6] - self.action_mean) / self.action_std
        return np.concatenate([motion, np.clip(action[..., 6:], 0.0, 1.0)], axis=-1).astype(np.float32)

    def denormalise_action(self, output: Array) -> Array:
        """Network outputs (..., 7) to actions: metres, radians, and the gripper's logit to [0, 1]."""
        motion = output[..., :6] * self.action_std + self.action_mean
        # The logistic function, in the form that cannot overflow.
        gripper = 0.5 * (1.0 + np.tanh(0.5 * output[..., 6:]))
        return np.concatenate([motion, gripper], axis=-1).astype(np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, as JSON holds them."""
        return {name: [float(value) for value in getattr(self, name)] for name in _SIZES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalizer:
        """The normaliser of :meth:`to_dict`. Raises ValueError naming a missing, unknown or malformed field."""
        for name in _SIZES:
            if name not in values:
                raise ValueError(f"{name}: missing")
        for name in values:
            if name not in _SIZES:
                raise ValueError(f"{name}: unknown field, expected one of {', '.join(_SIZES)}")
        return cls(**{name: values[name] for name in _SIZES})
