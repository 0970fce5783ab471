"""Means and deviations of states and actions: what the network's numbers mean in metres and radians."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import TCP_DELTA, ActionSpace

Array = NDArray[np.float32]

# A task with almost no variance in one number would otherwise turn a hair's breadth into many deviations.
STATE_STD_FLOOR = np.array([0.01] * 3 + [0.03] * 6 + [0.005 / 0.08], dtype=np.float32)
"""1 cm for the position, 0.03 for the rotation columns, 5 mm of gripper width (whose unit is 80 mm)."""

ACTION_STD_FLOOR = np.array([0.001] * 3 + [0.005] * 3, dtype=np.float32)
"""1 mm and 5 mrad."""

POSE_STD_FLOOR = np.array([0.01] * 3 + [1.0] * 6, dtype=np.float32)
"""1 cm for the position of an absolute pose; its rotation columns keep their own unit."""

STATE_CLIP = 5.0

_STATE, _ACTION = ("state_mean", "state_std"), ("action_mean", "action_std")
_NAMES = (*_STATE, *_ACTION)


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Affine maps between physical and network units.

    Attributes:
        state_mean, state_std: (10,) float32. Normalised states are clipped to +-5.
        action_mean, action_std: (6,) float32, of translation (m) and rotation (rad). Of absolute poses (9,), position
            (m) and rotation columns; these have a unit of their own and mean 0, deviation 1. The gripper is not
            normalised.

    Raises:
        ValueError: a field of the wrong size, not finite, or with a deviation of 0 or less; named.
    """

    state_mean: Array
    state_std: Array
    action_mean: Array
    action_std: Array

    def __post_init__(self) -> None:
        for name in _NAMES:
            size = 10 if name in _STATE else 9 if np.size(self.action_mean) == 9 else 6
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
    def fit(cls, states: Array, actions: Array, space: ActionSpace = TCP_DELTA) -> Normalizer:
        """Statistics of states (n, 10) and actions (n, space.size), with the floors."""
        if len(states) == 0:
            raise ValueError("states: expected at least one to fit a normaliser to, got none")
        motion = actions[:, :-1].astype(np.float64)
        states = states.astype(np.float64)  # type: ignore[assignment]
        mean, std = motion.mean(0), np.maximum(motion.std(0), POSE_STD_FLOOR if space.absolute else ACTION_STD_FLOOR)
        if space.absolute:
            # Gram-Schmidt takes the columns as they are, so the loss and the policy see them so, too.
            mean[3:], std[3:] = 0.0, 1.0
        return cls(
            state_mean=states.mean(0).astype(np.float32),
            state_std=np.maximum(states.std(0), STATE_STD_FLOOR).astype(np.float32),
            action_mean=mean.astype(np.float32),
            action_std=std.astype(np.float32),
        )

    def normalise_state(self, state: Array) -> Array:
        """States (..., 10) in physical units to network units, clipped."""
        return np.clip((state - self.state_mean) / self.state_std, -STATE_CLIP, STATE_CLIP)

    def normalise_action(self, action: Array) -> Array:
        """Actions (..., 7 or 10) in physical units to the network's targets; the gripper stays in [0, 1]."""
        motion = (action[..., :-1] - self.action_mean) / self.action_std
        return np.concatenate([motion, np.clip(action[..., -1:], 0.0, 1.0)], axis=-1).astype(np.float32)

    def denormalise_action(self, output: Array) -> Array:
        """Network outputs (..., 7 or 10) to actions in physical units, and the gripper's logit to [0, 1].

        Rotation columns come back as the network gave them: ``geometry.poses.rotation_from_6d`` makes a rotation.
        """
        motion = output[..., :-1] * self.action_std + self.action_mean
        # The logistic function, in the form that cannot overflow.
        gripper = 0.5 * (1.0 + np.tanh(0.5 * output[..., -1:]))
        return np.concatenate([motion, gripper], axis=-1).astype(np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, as JSON holds them."""
        return {name: [float(value) for value in getattr(self, name)] for name in _NAMES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalizer:
        """The normaliser of :meth:`to_dict`. Raises ValueError naming a missing, unknown or malformed field."""
        for name in _NAMES:
            if name not in values:
                raise ValueError(f"{name}: missing")
        for name in values:
            if name not in _NAMES:
                raise ValueError(f"{name}: unknown field, expected one of {', '.join(_NAMES)}")
        return cls(**{name: values[name] for name in _NAMES})
