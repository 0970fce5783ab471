"""Pre-training samples: an augmented cloud, an image of the same instant, and where the cloud's patches are in it.

The cloud is one camera's or all cameras' together, half and half; the image is any view of the instant, so that patches
are cropped away and hidden in it as on a real robot. What a patch corresponds to in the image is computed from the
points before they are moved: augmentation acts on clouds alone, the correspondence stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clar_core.data.teacher_features import TeacherFeatures
from clar_core.data.views import Views
from clar_core.geometry.camera import project
from clar_core.geometry.points import farthest_point_sampling
from clar_core.geometry.poses import inverse, transform_points
from clar_core.models.clar import ClarInputs
from clar_core.models.masked_autoencoder import hidden_patches

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CloudAugmentation:
    """How clouds are varied in pre-training. Zero (``scale`` 1 to 1) switches a part off.

    Attributes:
        scale_min, scale_max: range of the factor on the cloud about the middle of the crop box.
        translation_m: largest shift per axis.
        yaw_rad: largest rotation about the vertical through the middle of the crop box.
        jitter_m: standard deviation of the noise on each coordinate of each point.
        dropout: largest fraction of points dropped; drawn uniformly from 0 to this.
    """

    scale_min: float = 0.9
    scale_max: float = 1.1
    translation_m: float = 0.02
    yaw_rad: float = 0.1745
    jitter_m: float = 0.001
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f"augmentation.scale_min: expected 0 < min <= max, got {self.scale_min} and {self.scale_max}"
            )
        for name in ("translation_m", "yaw_rad", "jitter_m"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"augmentation.{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"augmentation.dropout: expected a fraction in [0, 1), got {self.dropout}")


NO_AUGMENTATION = CloudAugmentation(scale_min=1.0, scale_max=1.0, translation_m=0, yaw_rad=0, jitter_m=0, dropout=0)


@dataclass(frozen=True, eq=False)
class CloudMotion:
    """p -> scale R (p - pivot) + pivot + shift, R about the vertical. Metres, base frame."""

    scale: float
    yaw_rad: float
    shift_m: Array
    pivot_m: Array

    @property
    def rotation(self) -> Array:
        """(3, 3) float32."""
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=np.float32)

    def apply(self, points: Array) -> Array:
        """Points (n, 3), moved."""
        moved = (points - self.pivot_m) @ (self.rotation.T * np.float32(self.scale))
        return np.asarray(moved + (self.pivot_m + self.shift_m), dtype=np.float32)

    def undo(self, points: Array) -> Array:
        """Moved points (n, 3), back where they came from."""
        back = (points - self.pivot_m - self.shift_m) @ (self.rotation / np.float32(self.scale))
        return np.asarray(back + self.pivot_m, dtype=np.float32)


def draw_cloud_motion(rng: np.random.Generator, config: CloudAugmentation, pivot_m: Array) -> CloudMotion:
    """A random motion within the configuration."""
    scale = float(rng.uniform(config.scale_min, config.scale_max))
    yaw = float(rng.uniform(-config.yaw_rad, config.yaw_rad)) if config.yaw_rad else 0.0
    shift = (rng.uniform(-1.0, 1.0, 3) * config.translation_m).astype(np.float32)
    return CloudMotion(scale, yaw, shift, pivot_m)


class PretrainKey(NamedTuple):
    """Which sample is drawn, and what all its randomness is derived from: ``episode`` is the sample's id."""

    seed: int
    step: int
    episode: int


class PretrainSample(NamedTuple):
    """One sample; see ``PretrainBatch``. ``motion`` and ``view`` tell how it was made."""

    points: Array
    mask: NDArray[np.bool_]
    reference: Array
    valid: NDArray[np.bool_]
    priority: Array
    feature_map: Array
    teacher_at: Array
    image: Array
    text: Array
    instruction: int
    motion: CloudMotion
    view: int


class PretrainBatch(NamedTuple):
    """Samples of different episodes.

    Attributes:
        points: (B, N, 3) float32, network units, farthest-point order.
        mask: (B, G) bool, True for patches hidden from the masked autoencoder.
        reference: (B, G, 2) float32, projected centres of the unaugmented patches, (u, v) in [0, 1].
        valid: (B, G) bool, False for centres behind the camera, out of the image or occluded in it.
        priority: (B, G) float32 uniform; the valid patches with the smallest enter the local loss.
        feature_map: (B, h, w, D) float32, the teacher's, centred.
        teacher_at: (B, G, D) float32, the teacher's map at ``reference``, not centred.
        image, text: (B, width) float32 of unit length.
        instruction: (B,) int64, equal for sentences that mean the same.
    """

    points: Tensor
    mask: Tensor
    reference: Tensor
    valid: Tensor
    priority: Tensor
    feature_map: Tensor
    teacher_at: Tensor
    image: Tensor
    text: Tensor
    instruction: Tensor

    @property
    def inputs(self) -> ClarInputs:
        """What the model sees."""
        return ClarInputs(self.points, self.mask, self.reference, self.feature_map)

    def to(self, device: torch.device) -> PretrainBatch:
        """The batch on a device."""
        return PretrainBatch(*(part.to(device, non_blocking=True) for part in self))


class PretrainDataset(Dataset[PretrainSample]):
    """Samples of a set of views, one episode at a time.

    Args:
        views: the set; clouds and depth are read into memory, 110 kB a view.
        features: the teacher's, or ``None`` when no loss looks at a teacher.
        episodes: which episodes of the set.
        groups: patches per cloud, G.
        mask_ratio: share of them that is hidden.
        augmentation: how clouds are varied.
        fused: probability that the cloud is that of all cameras.
        occlusion_m: a centre this far behind the image's own depth is occluded.
        image_geometry: find the patches in the image even without features.
    """

    def __init__(
        self,
        views: Views,
        features: TeacherFeatures | None,
        episodes: NDArray[np.int64],
        *,
        groups: int,
        mask_ratio: float = 0.6,
        augmentation: CloudAugmentation = NO_AUGMENTATION,
        fused: float = 0.5,
        occlusion_m: float = 0.02,
        image_geometry: bool = False,
    ) -> None:
        self.spec = views.spec
        self._features = features
        self._groups, self._hidden = groups, hidden_patches(groups, mask_ratio)
        self._augmentation, self._fused, self._occlusion_m = augmentation, fused, occlusion_m
        self._clouds, self._counts = views.read("cloud"), views.read("cloud_count")
        self._depth = views.read("image_depth") if features is not None or image_geometry else None
        self._poses, self._cameras = views.read("T_base_image"), views.read("camera")
        self._intrinsics = views.intrinsics()
        self._instant = views.instant
        ids = [str(info["instruction_id"]) for info in views.infos]
        names = {name: i for i, name in enumerate(sorted(set(ids)))}
        self._instructions = [names[name] for name in ids]
        starts = np.concatenate([[0], views.episode_views[:-1]])
        self._ranges = [(int(starts[e]), int(views.episode_views[e])) for e in episodes]

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, key: PretrainKey) -> PretrainSample:
        """A sample: a function of the key alone."""
        rng = np.random.default_rng(tuple(key))
        start, stop = self._ranges[key.episode]
        image = int(rng.integers(start, stop))
        instant = int(self._instant[image])
        together = [v for v in range(start, stop) if self._instant[v] == instant]
        chosen = together if rng.random() < self._fused else [int(rng.choice(together))]
        clean = np.concatenate([self._clouds[v, : self._counts[v]] for v in chosen]).astype(np.float32)
        clean, moved, motion = self._augmented(rng, clean)
        order = farthest_point_sampling(moved, min(len(moved), self.spec.network_points), int(rng.integers(len(moved))))
        order = np.resize(order, self.spec.network_points)
        mask = np.zeros(self._groups, dtype=bool)
        mask[rng.permutation(self._groups)[: self._hidden]] = True
        reference, valid = self._correspondence(clean[order[: self._groups]], image)
        priority = rng.random(self._groups, dtype=np.float32)
        pooled, text, feature_map, teacher_at = self._teacher(image, instant, reference)
        return PretrainSample(
            self.spec.normalise(moved[order]), mask, reference, valid, priority,
            feature_map, teacher_at, pooled, text, self._instructions[instant], motion, image,
        )  # fmt: skip

    def _augmented(self, rng: np.random.Generator, cloud: Array) -> tuple[Array, Array, CloudMotion]:
        """The points that are kept, as they were and as the network sees them."""
        config = self._augmentation
        keep = max(round(len(cloud) * (1.0 - rng.uniform(0.0, config.dropout))), self._groups)
        if keep < len(cloud):
            cloud = cloud[rng.permutation(len(cloud))[:keep]]
        motion = draw_cloud_motion(rng, config, self.spec.centre_m)
        moved = motion.apply(cloud)
        if config.jitter_m > 0:
            moved = moved + rng.standard_normal(moved.shape, dtype=np.float32) * np.float32(config.jitter_m)
        return cloud, np.ascontiguousarray(moved), motion

    def _correspondence(self, centres_m: Array, view: int) -> tuple[Array, NDArray[np.bool_]]:
        """Image coordinates (G, 2) in [0, 1] of points in the base frame, and which of them the image shows."""
        if self._depth is None:
            return np.zeros((len(centres_m), 2), np.float32), np.zeros(len(centres_m), bool)
        intrinsics, depth = self._intrinsics[view], self._depth[view]
        optical = transform_points(inverse(self._poses[view]), centres_m.astype(np.float64))
        pixels = project(optical, intrinsics)
        size = np.array([intrinsics.width, intrinsics.height])
        reference = (pixels + 0.5) / size
        with np.errstate(invalid="ignore"):
            valid = np.isfinite(pixels).all(1) & (reference >= 0).all(1) & (reference < 1).all(1)
        columns, rows = np.floor(np.where(valid[:, None], reference, 0.0) * size).astype(np.int64).T
        seen_m = depth[rows, columns] * 1e-3
        valid &= (seen_m > 0) & (optical[:, 2] < seen_m + self._occlusion_m)
        return np.where(valid[:, None], reference, 0.5).astype(np.float32), valid

    def _teacher(self, view: int, instant: int, reference: Array) -> tuple[Array, Array, Array, Array]:
        features = self._features
        if features is None:
            none = np.zeros(0, np.float32)
            return none, none, np.zeros((1, 1, 0), np.float32), np.zeros((self._groups, 0), np.float32)
        raw = features.maps[view].astype(np.float32)
        centred = raw - features.means[self._cameras[view]]
        return features.pooled[view], features.text[instant], centred, bilinear(raw, reference)


def bilinear(feature_map: Array, reference: Array) -> Array:
    """A map (h, w, D) at image coordinates (n, 2) in [0, 1], clamped to the outermost cell centres: (n, D)."""
    height, width, _ = feature_map.shape
    x = np.clip(reference[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip(reference[:, 1] * height - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    upper = feature_map[top, left] * (1 - fx) + feature_map[top, left + 1] * fx
    lower = feature_map[top + 1, left] * (1 - fx) + feature_map[top + 1, left + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, dtype=np.float32)


def collate_pretrain(samples: list[PretrainSample]) -> PretrainBatch:
    """Stack samples into a batch."""
    names = PretrainBatch._fields[:-1]
    stacked = {name: torch.from_numpy(np.stack([getattr(s, name) for s in samples])) for name in names}
    return PretrainBatch(**stacked, instruction=torch.tensor([s.instruction for s in samples]))


def split_episodes(episodes: int, validation_fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episode numbers for training and validation: at least two validate, at least two train."""
    if episodes < 4:
        raise ValueError(f"expected at least 4 episodes to train and validate on, got {episodes}; add more views")
    order = np.random.default_rng((seed, 1)).permutation(episodes)
    held_out = min(max(round(episodes * validation_fraction), 2), episodes - 2)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


class EpisodeSampler(Sampler[list[PretrainKey]]):
    """The part of every global batch that is this process's: a function of (seed, step), no episode twice in it.

    Args:
        episodes: how many there are to draw from.
        batch_size: of the global batch; a multiple of ``processes``.
        seed: of the order.
        start, stop: training steps.
        rank, processes: which part of the batch.

    Raises:
        ValueError: fewer episodes than the batch needs, or a batch that cannot be shared evenly.
    """

    def __init__(
        self, episodes: int, batch_size: int, seed: int, start: int, stop: int, rank: int = 0, processes: int = 1
    ) -> None:
        if episodes < batch_size:
            raise ValueError(
                f"batch_size: expected at most one sample an episode, {episodes}, got {batch_size}; "
                "frames of one episode are too alike to be each other's negatives"
            )
        if batch_size % processes:
            raise ValueError(f"batch_size: expected a multiple of the {processes} processes, got {batch_size}")
        self._episodes, self._batch, self._seed = episodes, batch_size, seed
        self._start, self._stop, self._rank, self._processes = start, stop, rank, processes

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[list[PretrainKey]]:
        batches = self._episodes // self._batch
        for step in range(self._start, self._stop):
            epoch, position = divmod(step, batches)
            order = np.random.default_rng((self._seed, 2, epoch)).permutation(self._episodes)
            rows = order[position * self._batch : (position + 1) * self._batch].tolist()
            yield [PretrainKey(self._seed, step, row) for row in rows[self._rank :: self._processes]]
