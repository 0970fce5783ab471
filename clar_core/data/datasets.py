"""Imitation samples from stores: held in memory, augmented and sampled one at a time, reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clar_core.control.spaces import TCP_DELTA, ActionSpace
from clar_core.data.augmentation import AugmentationConfig, augment_window, draw_motion
from clar_core.data.hand_shift import Approach, approaches, shift_hand
from clar_core.data.store import EpisodeInfo, Store, StoreError, check_alike
from clar_core.observation.builder import build_network_points
from clar_core.observation.spec import ObservationSpec
from clar_core.training.normalizer import Normalizer

Array = NDArray[np.float32]
Sample = tuple[NDArray[Any], Array, Array, int, bool]
Sight = Literal["cloud", "image", "nothing"]

_SWITCH_TICKS = 3


class SampleKey(NamedTuple):
    """Which sample is drawn, and what its randomness is derived from."""

    seed: int
    step: int
    row: int


class Batch(NamedTuple):
    """Inputs and targets in network units.

    With a history, what is seen and states have one more axis after the first, the present last; with a chunk, so have
    actions, the present first.

    Attributes:
        seen: points (B, N, 3) float32, in farthest-point order; or images (B, S, S, 3) uint8 RGB; or the features
            (B, F) that a frozen encoder makes of them.
        state: (B, 10) float32.
        action: (B, 7) float32, or (B, 10) of absolute poses.
        sentence: (B,) int64, into ``Demonstrations.sentences()``.
        at_switch: (B,) bool, within 3 ticks of a change of the gripper's target; with keyframes, whether it changes.
    """

    seen: Tensor
    state: Tensor
    action: Tensor
    sentence: Tensor
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
        actions: (T, action_space.size) float32.
        episodes: with ``start`` and ``end`` into these arrays.
        fingerprints: of the stores, by path as given.
        action_space: what the actions mean, the same in all stores.
        images: (T, S, S, 3) uint8 RGB; ``None`` where none were asked for.
    """

    spec: ObservationSpec
    clouds: NDArray[np.float16]
    counts: NDArray[np.int32]
    states: Array
    actions: Array
    episodes: tuple[EpisodeInfo, ...]
    fingerprints: dict[str, str]
    action_space: ActionSpace = TCP_DELTA
    images: NDArray[np.uint8] | None = None

    @classmethod
    def load(
        cls, directories: Sequence[Path | str], *, require_success: bool = True, image_size: int = 0
    ) -> Demonstrations:
        """Read stores into memory: 12 kB a step at 2048 points a cloud, and 150 kB with images of 224 pixels.

        Args:
            directories: at least one store.
            require_success: leave out episodes that failed.
            image_size: side of the images that are read, too; 0 reads none.

        Raises:
            StoreError: no store, none with usable episodes, stores that do not fit together, or one without images of
                that size.
        """
        if not directories:
            raise StoreError("stores: expected at least one directory, got none; `clar data collect` makes one")
        stores = [Store(directory) for directory in directories]
        first = stores[0]
        check_alike(stores)
        for store in stores if image_size else ():
            _check_images(store, image_size)
        arrays = {name: _joined(stores, name) for name in ("point_cloud", "point_count", "state", "action")}
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
        _check_numbers(arrays, stores)
        return cls(
            first.spec,
            arrays["point_cloud"],
            arrays["point_count"],
            arrays["state"],
            arrays["action"],
            tuple(episodes),
            {str(store.directory): store.fingerprint() for store in stores},
            first.action_space,
            _joined(stores, "image") if image_size else None,
        )

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(sorted({episode.task for episode in self.episodes}))

    def sentences(self) -> tuple[str, ...]:
        """Instructions of the episodes, sorted."""
        return tuple(sorted({episode.instruction for episode in self.episodes}))

    def sentences_of(self, task: str) -> tuple[str, ...]:
        """Instructions of a task's episodes, sorted."""
        return tuple(sorted({episode.instruction for episode in self.episodes if episode.task == task}))

    def split(self, validation_fraction: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Episode numbers for training and validation, from every task; with a fraction, one of each task validates.

        Raises:
            StoreError: a task has a single episode, and one is to be held out.
        """
        training: list[int] = []
        validation: list[int] = []
        for task in self.tasks():
            of_task = [i for i, episode in enumerate(self.episodes) if episode.task == task]
            if validation_fraction > 0 and len(of_task) < 2:
                raise StoreError(
                    f"{', '.join(self.fingerprints)}: {len(of_task)} episode of task {task!r}, expected at least 2, "
                    "one to train on and one to hold out; collect more, or hold none out (--validation-fraction 0)"
                )
            order = np.random.default_rng((seed, 1)).permutation(of_task).tolist()
            held_out = round(len(order) * validation_fraction)
            if validation_fraction > 0:
                held_out = min(max(held_out, 1), len(order) - 1)
            training += order[held_out:]
            validation += order[:held_out]
        return tuple(sorted(training)), tuple(sorted(validation))


def _joined(stores: Sequence[Store], name: str) -> NDArray[Any]:
    """An array of all stores; of a single one without a copy."""
    return np.concatenate([store.read(name) for store in stores]) if len(stores) > 1 else stores[0].read(name)


def _check_images(store: Store, size: int) -> None:
    """Raise StoreError for a store without images of this size, saying how to make one."""
    if store.image_size != size:
        found = f"images of {store.image_size} pixels" if store.image_size else "clouds and no images"
        raise StoreError(
            f"{store.directory}: holds {found}, and the encoder looks at colour images of {size} pixels; make the "
            f"store again with --image-size {size} (clar data convert, clar data collect, clar data metaworld)"
        )


def _check_numbers(arrays: Mapping[str, NDArray[Any]], stores: Sequence[Store]) -> None:
    """Raise StoreError for a number that is not finite, naming the store, the episode and the step."""
    for name in ("state", "action", "point_cloud"):
        finite = np.isfinite(arrays[name]).reshape(len(arrays[name]), -1).all(axis=1)
        if finite.all():
            continue
        step = int(np.argmin(finite))
        for store in stores:
            if step < store.steps:
                number, episode = next((i, e) for i, e in enumerate(store.episodes) if step < e.end)
                raise StoreError(
                    f"{store.directory}: {name}: NaN or Inf in episode {number}, step {step - episode.start}; "
                    "remove the episode or collect it again"
                )
            step -= store.steps


class ImitationDataset(Dataset[Sample]):
    """One sample per step of the chosen episodes.

    Args:
        demonstrations: the data.
        episodes: which of its episodes.
        normalizer: to network units.
        augmentation: ``None`` for validation: the cloud as stored, sampled from the first point on, and the sentence
            as recorded. Otherwise any sentence of the task.
        history: observations of a sample; before an episode's beginning its first one is repeated.
        sight: what a policy sees: ``image`` gives the images as they are, which cannot be moved with the rest, so that
            the augmentation must not move it either; ``nothing`` gives one point at the origin.
        chunk: actions of a sample; after an episode's end the arm stays and the gripper keeps its target.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        episodes: Sequence[int],
        normalizer: Normalizer,
        augmentation: AugmentationConfig | None,
        *,
        history: int = 1,
        chunk: int = 1,
        sight: Sight = "cloud",
    ) -> None:
        if sight == "image" and augmentation is not None and augmentation.moves:
            raise ValueError("augmentation: images cannot be moved with state and action; use AugmentationConfig.still")
        self._data = demonstrations
        self._normalizer = normalizer
        self._augmentation = augmentation
        self._history, self._chunk, self._sight = history, chunk, sight
        chosen = [demonstrations.episodes[i] for i in episodes]
        sentences = demonstrations.sentences()
        self._choices = [
            np.array([sentences.index(s) for s in demonstrations.sentences_of(e.task)] if augmentation else [])
            for e in chosen
        ]
        self._own = [sentences.index(e.instruction) for e in chosen]
        self._bounds = [(e.start, e.end) for e in chosen]
        self._steps = np.concatenate([np.arange(e.start, e.end) for e in chosen]) if chosen else np.zeros(0, np.int64)
        self._episode = np.repeat(np.arange(len(chosen)), [len(e) for e in chosen])
        self._approaches = _approaches(demonstrations, chosen)
        if demonstrations.action_space.absolute:
            self._at_switch = _switches(demonstrations.states[self._steps], demonstrations.actions[self._steps])
        else:
            near = [_near_switches(demonstrations.actions[e.start : e.end, -1]) for e in chosen]
            self._at_switch = np.concatenate(near) if near else np.zeros(0, bool)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, key: SampleKey) -> Sample:
        """What is seen, state (10,), action (size,), in network units; the sentence's number; at a gripper switch?

        Seen are points (N, 3) in network units or an image (S, S, 3) uint8. With a history or a chunk, the arrays have
        one more axis in front.
        """
        spec, episode = self._data.spec, int(self._episode[key.row])
        past, clouds, states, actions = self._window(int(self._steps[key.row]), episode)
        starts, noise, sentence = [0] * len(clouds), np.zeros_like(states), self._own[episode]
        if self._augmentation is not None:
            rng = np.random.default_rng(tuple(key))
            clouds, states, actions = augment_window(
                rng,
                clouds,
                states,
                actions,
                spec,
                self._augmentation,
                self._data.action_space,
                self._approaches[key.row],
            )
            starts = [int(rng.integers(len(cloud))) for cloud in clouds]
            noise = np.float32(self._augmentation.state_noise) * rng.standard_normal(states.shape, dtype=np.float32)
            sentence = int(rng.choice(self._choices[episode]))
        if self._sight == "image":
            assert self._data.images is not None, "load the demonstrations with an image_size"
            seen: list[NDArray[Any]] = list(self._data.images[past])
        elif self._sight == "cloud":
            seen = [build_network_points(c, spec, start_index=start) for c, start in zip(clouds, starts, strict=True)]
        else:
            seen = [np.zeros((1, 3), np.float32)] * len(past)
        return (
            seen[0] if self._history == 1 else np.stack(seen),
            _single(self._normalizer.normalise_state(states) + noise, self._history),
            _single(self._normalizer.normalise_action(actions), self._chunk),
            sentence,
            bool(self._at_switch[key.row]),
        )

    def _window(self, step: int, episode: int) -> tuple[list[int], list[Array], Array, Array]:
        """Rows, clouds and states up to a step, and actions from it on, within the step's episode."""
        data, (start, end) = self._data, self._bounds[episode]
        past = [max(start, step - back) for back in reversed(range(self._history))]
        ahead = np.arange(step, step + self._chunk)
        actions = data.actions[np.minimum(ahead, end - 1)].copy()
        actions[ahead >= end, :6] = 0.0
        return (
            past,
            [data.clouds[i, : data.counts[i]].astype(np.float32) for i in past],
            data.states[past],
            actions,
        )


def _approaches(data: Demonstrations, episodes: Sequence[EpisodeInfo]) -> list[Approach]:
    """What the future of every step of these episodes allows."""
    return [
        step
        for e in episodes
        for step in approaches(data.states[e.start : e.end], data.actions[e.start : e.end, -1], data.spec)
    ]


def _single(array: Array, length: int) -> Array:
    """Without the first axis where it is one by configuration."""
    return array[0] if length == 1 else array


def _near_switches(gripper: Array) -> NDArray[np.bool_]:
    """Which of the ticks (T,) lie within 3 of a change of the gripper's target."""
    near = np.zeros(len(gripper), dtype=bool)
    for tick in np.flatnonzero(np.diff(gripper > 0.5)) + 1:
        near[max(tick - _SWITCH_TICKS, 0) : tick + _SWITCH_TICKS + 1] = True
    return near


def _switches(states: Array, actions: Array) -> NDArray[np.bool_]:
    """At which steps the gripper's target (T,) is another than its state."""
    return np.asarray((states[:, -1] > 0.5) != (actions[:, -1] > 0.5))


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    seen, states, actions, sentences, at_switch = zip(*samples, strict=True)
    return Batch(
        torch.from_numpy(np.stack(seen)),
        torch.from_numpy(np.stack(states)),
        torch.from_numpy(np.stack(actions)),
        torch.tensor(sentences),
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
    spec, space = demonstrations.spec, demonstrations.action_space
    if augmentation is not None:
        rng = np.random.default_rng((seed, 3))
        moved = []
        futures = _approaches(demonstrations, [demonstrations.episodes[i] for i in episodes])
        for state, action, future in zip(states, actions, futures, strict=True):
            if not space.absolute:
                _, (state,), (action,) = shift_hand(rng, [], state[None], action[None], future, augmentation, spec)
            motion = draw_motion(rng, state, action, spec, augmentation, space=space)
            moved.append((motion.move_state(state), motion.move_action(action, space)))
        states, actions = (np.stack(part) for part in zip(*moved, strict=True))
    return Normalizer.fit(states, actions, space)
