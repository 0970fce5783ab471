"""Augmentation of one imitation sample: cloud, state and action move together, or the label would be a lie.

The tasks are equivariant in the base frame: turn the table, the objects and the hand about a vertical axis, and the
right action turns with them. Scaling has no such symmetry and is never done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import TCP_DELTA, ActionSpace
from clar_core.data.hand_shift import Approach, shift_hand
from clar_core.data.planar_motion import PlanarMotion
from clar_core.geometry.points import inside_box
from clar_core.observation.spec import ObservationSpec

Array = NDArray[np.float32]

_DRAWS = 8


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How samples are varied. Zero switches a part off.

    Attributes:
        yaw_rad: largest rotation about the vertical axis through the centre of the crop box.
        translation_xy_m: largest horizontal shift per axis.
        translation_z_m: largest vertical shift.
        reach_min_m, reach_max_m: box in the base frame that the moved TCP must lie in.
        max_lost: largest fraction of the cloud that may leave the crop box.
        jitter_m: standard deviation of the noise on each coordinate of each point.
        dropout: largest fraction of points dropped; drawn uniformly from 0 to this.
        state_noise: standard deviation of the noise on the normalised state.
        hand_share: part of the samples with an open hand in which the arm is shifted against the scene, and the action
            leads back, see ``data.hand_shift``.
        hand_xy_m, hand_z_m, hand_yaw_rad: the largest such shift and turn.
        hand_return_m, hand_return_rad: how far a tick leads and turns back.
        hand_closed_share: part of the shifted samples in which the hand is closed on nothing, too, and the label opens
            it. Only where the hand never closes as far in the demonstration.
        hand_opening_share: part of those that are shown on their way of opening instead, with nothing between them: as
            wide as if they held something.
        hand_low_share: part of the shifted hands that go down as far as the demonstration goes, and up before sideways.
    """

    yaw_rad: float = 0.5
    translation_xy_m: float = 0.08
    translation_z_m: float = 0.01
    reach_min_m: tuple[float, float, float] = (0.28, -0.40, 0.0)
    reach_max_m: tuple[float, float, float] = (0.75, 0.40, 0.65)
    max_lost: float = 0.05
    jitter_m: float = 0.001
    dropout: float = 0.2
    state_noise: float = 0.0
    hand_share: float = 0.0
    hand_xy_m: float = 0.08
    hand_z_m: float = 0.05
    hand_yaw_rad: float = 0.2
    hand_return_m: float = 0.012
    hand_return_rad: float = 0.03
    hand_closed_share: float = 0.0
    hand_opening_share: float = 0.0
    hand_low_share: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether samples are moved, as a whole or the arm in them."""
        whole = self.yaw_rad > 0 or self.translation_xy_m > 0 or self.translation_z_m > 0
        return whole or self.hand_share > 0

    def still(self) -> AugmentationConfig:
        """The same without moving samples."""
        return replace(self, yaw_rad=0.0, translation_xy_m=0.0, translation_z_m=0.0, hand_share=0.0)

    def __post_init__(self) -> None:
        lengths = ("translation_xy_m", "translation_z_m", "jitter_m", "hand_xy_m", "hand_z_m")
        for name in ("yaw_rad", "state_noise", "hand_yaw_rad", *lengths):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"augmentation.{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("dropout", "max_lost"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"augmentation.{name}: expected a fraction in [0, 1), got {getattr(self, name)}")
        for name in ("hand_share", "hand_closed_share", "hand_opening_share", "hand_low_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"augmentation.{name}: expected a fraction in [0, 1], got {getattr(self, name)}")
        for name in ("hand_return_m", "hand_return_rad"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ValueError(f"augmentation.{name}: expected a positive number, got {getattr(self, name)}")
        if not all(a < b for a, b in zip(self.reach_min_m, self.reach_max_m, strict=True)):
            raise ValueError(
                f"augmentation.reach_min_m: expected below reach_max_m, got {self.reach_min_m}, {self.reach_max_m}"
            )


def draw_motion(
    rng: np.random.Generator,
    state: Array,
    action: Array,
    spec: ObservationSpec,
    config: AugmentationConfig,
    cloud: Array | None = None,
    space: ActionSpace = TCP_DELTA,
) -> PlanarMotion:
    """A random motion that keeps the TCP, before and after the action, in reach and the cloud in the crop box.

    Absolute poses that were demonstrated lie in reach, whatever the configuration says.
    Every refused draw shrinks the range of the next; the last one is no motion at all.
    """
    low, high = np.asarray(config.reach_min_m), np.asarray(config.reach_max_m)
    after = action[:3] if space.absolute else state[:3] + action[:3]
    demonstrated = np.stack([state[:3], after])
    if space.absolute:
        low, high = np.minimum(low, demonstrated.min(0)), np.maximum(high, demonstrated.max(0))
    xy, z = config.translation_xy_m, config.translation_z_m
    for attempt in range(_DRAWS):
        shrink = 1.0 - attempt / _DRAWS
        numbers = rng.uniform(-1.0, 1.0, 4) * shrink
        shift = (numbers[1:] * (xy, xy, z)).astype(np.float32)
        motion = PlanarMotion(float(numbers[0] * config.yaw_rad), shift, spec.centre_m)
        ends = motion.move_points(demonstrated)
        if not ((ends >= low) & (ends <= high)).all():
            continue
        if cloud is not None:
            kept = inside_box(motion.move_points(cloud), spec.crop_min_m, spec.crop_max_m).mean()
            if kept < 1.0 - config.max_lost:
                continue
        return motion
    return PlanarMotion(0.0, np.zeros(3, dtype=np.float32), spec.centre_m)


def augment(
    rng: np.random.Generator,
    cloud: Array,
    state: Array,
    action: Array,
    spec: ObservationSpec,
    config: AugmentationConfig,
) -> Mapping[str, Array]:
    """A varied copy of a sample in physical units: ``{"cloud": (m, 3), "state": (10,), "action": (7,)}``.

    Points are dropped and shaken, then cloud, state and action are moved together, then the cloud is cropped again.
    Never leaves fewer than ``spec.min_cloud_points`` of a cloud that had them.
    """
    clouds, states, actions = augment_window(rng, [cloud], state[None], action[None], spec, config)
    return {"cloud": clouds[0], "state": states[0], "action": actions[0]}


def augment_window(
    rng: np.random.Generator,
    clouds: Sequence[Array],
    states: Array,
    actions: Array,
    spec: ObservationSpec,
    config: AugmentationConfig,
    space: ActionSpace = TCP_DELTA,
    approach: Approach | None = None,
) -> tuple[list[Array], Array, Array]:
    """As :func:`augment`, of observations over time (the present one last) and the actions from now on.

    All of them are moved by one motion, drawn for the present, and before that the arm in all of them by one shift.

    Args:
        clouds: one (n, 3) for each observation.
        states: (history, 10).
        actions: (chunk, space.size).
        approach: what the present step's future allows; without it the arm is not shifted against the scene.
    """
    shaken = [_shake(rng, cloud, spec, config) for cloud in clouds]
    if approach is not None and not space.absolute:
        shaken, states, actions = shift_hand(rng, shaken, states, actions, approach, config, spec)
    motion = draw_motion(rng, states[-1], actions[0], spec, config, shaken[-1], space)
    return (
        [_cropped(motion.move_points(cloud), spec) for cloud in shaken],
        np.stack([motion.move_state(state) for state in states]),
        np.stack([motion.move_action(action, space) for action in actions]),
    )


def _shake(rng: np.random.Generator, cloud: Array, spec: ObservationSpec, config: AugmentationConfig) -> Array:
    keep = max(round(len(cloud) * (1.0 - rng.uniform(0.0, config.dropout))), min(spec.min_cloud_points, len(cloud)))
    if keep < len(cloud):
        cloud = cloud[rng.permutation(len(cloud))[:keep]]
    if config.jitter_m > 0:
        cloud = cloud + rng.standard_normal(cloud.shape, dtype=np.float32) * np.float32(config.jitter_m)
    return cloud


def _cropped(cloud: Array, spec: ObservationSpec) -> Array:
    inside = cloud[inside_box(cloud, spec.crop_min_m, spec.crop_max_m)]
    return np.ascontiguousarray(inside if len(inside) >= spec.min_cloud_points else cloud, dtype=np.float32)
