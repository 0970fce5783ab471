"""Imitation samples from stores: held in memory, augmented and sampled one at a time, reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clar_core.data.augmentation import AugmentationConfig, augment, draw_motion
from clar_core.data.store import EpisodeInfo, Store, StoreError
from clar_core.observation.builder import build_network_points
from clar_core.observation.spec import ObservationSpec
from clar_core.training.normalizer import Normalizer

Array = NDArray[np.float32]
Sample = tuple[Array, Array, Array, int, bool]

_SWITCH_TICKS = 3


class SampleKey(NamedTuple):
    """Which sample is drawn, and what its randomness is derived from."""

    seed: int
    step: int
    row: int


class Batch(NamedTuple):
    """Inputs and targets in network units.

    Attributes:
        points: (B, N, 3) float32, in farthest-point order.
        state: (B, 10) float32.
        action: (B, 7) float32.
        task: (B,) int64, into ``Demonstrations.tasks()``.
        at_switch: (B,) bool, within 3 ticks of a change of the gripper's target.
    """

    points: Tensor
    state: Tensor
    action: Tensor
    task: Tensor
    at_switch: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Steps of several stores, concatenated in memory.

    Attributes:
        spec: how they were observed, the same in all stores.
        clouds: (T, P, 3) float16, metres.
        counts: (T,) int32, rows of each cloud that are not repetitions.
        states: (T, 10) float32.
        actions: (T, 7) float32.
        episodes: with ``start`` and ``end`` into these arrays.
        fingerprints: of the stores, by path as given.
    """

    spec: ObservationSpec
    clouds: NDArray[np.float16]
    counts: NDArray[np.int32]
    states: Array
    actions: Array
    episodes: tuple[EpisodeInfo, ...]
    fingerprints: dict[str, str]

    @classmethod
    def load(cls, directories: Sequence[Path | str], *, require_success: bool = True) -> Demonstrations:
        """Read stores into memory: 12 kB a step at 2048 points a cloud.

        Args:
            directories: at least one store.
            require_success: leave out episodes that failed.

        Raises:
            StoreError: no store, none with usable episodes, or stores that do not fit together.
        """
        if not directories:
            raise StoreError("stores: expected at least one directory, got none; `clar data collect` makes one")
        stores = [Store(directory) for directory in directories]
        first = stores[0]
        for store in stores[1:]:
            if lines := first.spec.differences(store.spec):
                raise StoreError(f"{store.directory}: observed otherwise than {first.directory}: {'; '.join(lines)}")
            if store.points_per_cloud != first.points_per_cloud:
                raise StoreError(
                    f"{store.directory}: points_per_cloud is {store.points_per_cloud}, "
                    f"but {first.points_per_cloud} in {first.directory}"
                )
        arrays = {
            name: np.concatenate([store.read(name) for store in stores]) if len(stores) > 1 else first.read(name)
            for name in ("point_cloud", "point_count", "state", "action")
        }
        episodes: list[EpisodeInfo] = []
        offset = 0
        for store in stores:
            for e in store.episodes:
                if e.success or not require_success:
                    moved = EpisodeInfo(e.start + offset, e.end + offset, e.task, e.instruction, e.success, e.info)
                    episodes.append(moved)
            offset += store.steps
        if not episodes:
            names = ", ".join(str(store.directory) for store in stores)
            raise StoreError(f"{names}: no {'successful ' if require_success else ''}episode; collect some first")
        return cls(
            first.spec,
            arrays["point_cloud"],
            arrays["point_count"],
            arrays["state"],
            arrays["action"],
            tuple(episodes),
            {str(store.directory): store.fingerprint() for store in stores},
        )

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(sorted({episode.task for episode in self.episodes}))

    def split(self, validation_fraction: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Episode numbers for training and validation; at least one trains, and one validates if a fraction does."""
        order = np.random.default_rng((seed, 1)).permutation(len(self.episodes)).tolist()
        held_out = round(len(order) * validation_fraction)
        if validation_fraction > 0:
            held_out = min(max(held_out, 1), len(order) - 1)
        return tuple(sorted(order[held_out:])), tuple(sorted(order[:held_out]))


class ImitationDataset(Dataset[Sample]):
    """One sample per step of the chosen episodes.

    Args:
        demonstrations: the data.
        episodes: which of its episodes.
        normalizer: to network units.
        augmentation: ``None`` for validation: the cloud as stored, sampled from the first point on.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        episodes: Sequence[int],
        normalizer: Normalizer,
        augmentation: AugmentationConfig | None,
    ) -> None:
        self._data = demonstrations
        self._normalizer = normalizer
        self._augmentation = augmentation
        chosen = [demonstrations.episodes[i] for i in episodes]
        names = demonstrations.tasks()
        self._steps = np.concatenate([np.arange(e.start, e.end) for e in chosen]) if chosen else np.zeros(0, np.int64)
        tasks = [np.full(len(e), names.index(e.task)) for e in chosen]
        self._tasks = np.concatenate(tasks) if tasks else np.zeros(0, np.int64)
        near = [_near_switches(demonstrations.actions[e.start : e.end, 6]) for e in chosen]
        self._at_switch = np.concatenate(near) if near else np.zeros(0, bool)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, key: SampleKey) -> Sample:
        """Points (N, 3), state (10,), action (7,), all in network units; the task's number; near a gripper switch?"""
        step = int(self._steps[key.row])
        data, spec = self._data, self._data.spec
        cloud = data.clouds[step, : data.counts[step]].astype(np.float32)
        state, action = data.states[step], data.actions[step]
        start, noise = 0, np.zeros_like(state)
        if self._augmentation is not None:
            rng = np.random.default_rng(tuple(key))
            sample = augment(rng, cloud, state, action, spec, self._augmentation)
            cloud, state, action = sample["cloud"], sample["state"], sample["action"]
            start = int(rng.integers(len(cloud)))
            noise = np.float32(self._augmentation.state_noise) * rng.standard_normal(len(state), dtype=np.float32)
        return (
            build_network_points(cloud, spec, start_index=start),
            self._normalizer.normalise_state(state) + noise,
            self._normalizer.normalise_action(action),
            int(self._tasks[key.row]),
            bool(self._at_switch[key.row]),
        )


def _near_switches(gripper: Array) -> NDArray[np.bool_]:
    """Which of the ticks (T,) lie within 3 of a change of the gripper's target."""
    near = np.zeros(len(gripper), dtype=bool)
    for tick in np.flatnonzero(np.diff(gripper > 0.5)) + 1:
        near[max(tick - _SWITCH_TICKS, 0) : tick + _SWITCH_TICKS + 1] = True
    return near


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    points, states, actions, tasks, at_switch = zip(*samples, strict=True)
    return Batch(
        torch.from_numpy(np.stack(points)),
        torch.from_numpy(np.stack(states)),
        torch.from_numpy(np.stack(actions)),
        torch.tensor(tasks),
        torch.tensor(at_switch),
    )


class StepSampler(Sampler[list[SampleKey]]):
    """Batches of training step ``start`` to ``stop``: a function of (seed, step) alone, so any step can be redone.

    Samples are drawn without replacement within an epoch; the last, partial batch of an epoch is left out.
    """

    def __init__(self, size: int, batch_size: int, seed: int, start: int, stop: int) -> None:
        if size < 1:
            raise ValueError("expected at least one training sample, got none")
        self._size, self._batch, self._seed = size, min(batch_size, size), seed
        self._start, self._stop = start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        batches = self._size // self._batch
        order: NDArray[np.int64] = np.zeros(0, np.int64)
        drawn_epoch = -1
        for step in range(self._start, self._stop):
            epoch, position = divmod(step, batches)
            if epoch != drawn_epoch:
                order = np.random.default_rng((self._seed, 2, epoch)).permutation(self._size)
                drawn_epoch = epoch
            rows = order[position * self._batch : (position + 1) * self._batch].tolist()
            yield [SampleKey(self._seed, step, row) for row in rows]


def fit_normalizer(
    demonstrations: Demonstrations, episodes: Sequence[int], augmentation: AugmentationConfig | None, seed: int
) -> Normalizer:
    """Statistics of the states and actions that training will see, augmentation included."""
    steps = np.concatenate([np.arange(e.start, e.end) for e in (demonstrations.episodes[i] for i in episodes)])
    states, actions = demonstrations.states[steps], demonstrations.actions[steps]
    if augmentation is not None:
        rng = np.random.default_rng((seed, 3))
        moved = [
            (motion.move_state(state), motion.move_action(action))
            for state, action in zip(states, actions, strict=True)
            for motion in (draw_motion(rng, state, action, demonstrations.spec, augmentation),)
        ]
        states, actions = (np.stack(part) for part in zip(*moved, strict=True))
    return Normalizer.fit(states, actions)
