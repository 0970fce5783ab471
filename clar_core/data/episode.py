"""One demonstration in memory: what every recorder, converter and simulator produces and the store keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import SPACES, TCP_DELTA, ActionSpace
from clar_core.geometry.camera import Intrinsics

Array = NDArray[np.float32]

STATE_DIM = 10
_ACTION_SIZES = {space.size for space in SPACES.values()}


class EpisodeError(ValueError):
    """An episode is not well formed. The message names the step and the field."""


@dataclass(frozen=True, eq=False)
class PosedImage:
    """The colour image nearest to a step, resized to a square of S pixels, with its own depth and place.

    Attributes:
        image: (S, S, 3) uint8 RGB, the whole image, anisotropic.
        depth: (S, S) uint16, mm along the image's optical axis, 0 where there is none.
        intrinsics: of ``image``, lens included.
        T_base_image: (4, 4), maps points of the image's optical frame to the base frame.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    intrinsics: Intrinsics
    T_base_image: NDArray[np.float64]

    def __post_init__(self) -> None:
        size = (self.intrinsics.height, self.intrinsics.width)
        for name, shape, kind in (("image", (*size, 3), np.uint8), ("depth", size, np.uint16)):
            value = getattr(self, name)
            if value.shape != shape or value.dtype != kind or size[0] != size[1]:
                raise EpisodeError(
                    f"{name}: expected {np.dtype(kind)} of shape {shape}, a square as its intrinsics are, "
                    f"got {value.dtype} {value.shape}"
                )


@dataclass(frozen=True, eq=False)
class Step:
    """One 10 Hz tick, or one keyframe: the observation, and the action that was labelled for it.

    Attributes:
        cloud: (n, 3) float32, metres in the base frame, cropped, not sampled.
        state: (10,) float32 proprioception, see ``observation.builder.proprioception``.
        action: (7,) float32, see ``control.action.Action``; (10,) of an episode of keyframes, see ``control.spaces``.
        image: what the colour camera saw, where that is kept.
    """

    cloud: Array
    state: Array
    action: Array
    image: PosedImage | None = None

    def __post_init__(self) -> None:
        for name, sizes in (("state", {STATE_DIM}), ("action", _ACTION_SIZES)):
            value = np.asarray(getattr(self, name), dtype=np.float32)
            if value.ndim != 1 or value.size not in sizes:
                wanted = " or ".join(f"({size},)" for size in sorted(sizes))
                raise EpisodeError(f"{name}: expected shape {wanted}, got {value.shape}")
            object.__setattr__(self, name, value)
        cloud = np.asarray(self.cloud, dtype=np.float32)
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) == 0:
            raise EpisodeError(f"cloud: expected shape (n, 3) with n > 0, got {cloud.shape}")
        object.__setattr__(self, "cloud", cloud)
        for name in ("cloud", "state", "action"):
            if not np.isfinite(getattr(self, name)).all():
                raise EpisodeError(f"{name}: expected finite numbers, found NaN or Inf")


@dataclass(frozen=True, eq=False)
class Episode:
    """A sequence of steps of one task.

    Attributes:
        task: name of the task, as in ``simulation.tasks``.
        instruction: the sentence that the robot was given.
        steps: at least one.
        success: the outcome, as the task's predicate or the operator judged it.
        info: what else is known, JSON values only (seed, source, operator, calibration hash).
        action_space: what the steps' actions mean.
    """

    task: str
    instruction: str
    steps: Sequence[Step]
    success: bool = True
    info: dict[str, Any] = field(default_factory=dict)
    action_space: ActionSpace = TCP_DELTA

    def __post_init__(self) -> None:
        if not self.task:
            raise EpisodeError("task: expected a name, got an empty string")
        if not self.steps:
            raise EpisodeError(f"steps: expected at least one step in an episode of task {self.task!r}, got none")
        for number, step in enumerate(self.steps):
            if len(step.action) != self.action_space.size:
                raise EpisodeError(
                    f"step {number}: action: expected {self.action_space.size} numbers of {self.action_space.name}, "
                    f"got {len(step.action)}"
                )

    def __len__(self) -> int:
        return len(self.steps)
