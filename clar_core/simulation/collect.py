"""Demonstrations from the simulated cell: the expert labels every state, and the expert or a policy drives.

Driven by the expert, this is behaviour cloning's data; bursts of perturbation on what is executed, with the clean
label kept, show it how to come back. Driven by a policy, this is DAgger (Ross et al., AISTATS 2011): the states that
the policy really meets, with the action that would have been right there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.episode import Episode, Step
from clar_core.data.store import StoreWriter
from clar_core.simulation.env import CellEnv, EnvConfig, Observation
from clar_core.simulation.perturbation import NO_PERTURBATION, Perturbation, Perturber
from clar_core.workers import in_order, map_unordered

Array = NDArray[np.float64]
Act = Callable[[Observation], Array]


@dataclass(frozen=True)
class CollectConfig:
    """What to collect.

    Attributes:
        task: a registered task.
        directory: store to create, or to append to; ``outputs/data/<task>`` when left out.
        episodes: how many to keep.
        first_seed: seeds count up from here; the same seeds give the same starts.
        perturb: disturbances of the executed action.
        policy: checkpoint directory of a policy that drives instead of the expert (DAgger), or None.
        expert_share: with a policy, the part of episodes in which the expert takes over after a random time.
        image_size: side of the colour images kept with the steps; 0 keeps none.
        workers: processes; all cores when None.
        env: the environment; its task and image size are overridden by those here.
    """

    task: str = "place_cube_in_basin"
    directory: Path | None = None
    episodes: int = 30
    first_seed: int = 10_000
    perturb: Perturbation = field(default_factory=Perturbation)
    policy: Path | None = None
    expert_share: float = 0.3
    image_size: int = 0
    workers: int | None = None
    env: EnvConfig = field(default_factory=EnvConfig)

    @property
    def store(self) -> Path:
        """Directory of the store."""
        return self.directory or Path("outputs/data") / self.task


@dataclass(frozen=True)
class CollectResult:
    """How collecting went: episodes kept, how many of all attempts succeeded, and the steps written."""

    kept: int
    attempts: int
    successes: int
    steps: int


def rollout(
    env: CellEnv,
    seed: int,
    *,
    act: Act | None = None,
    takeover_step: int | None = None,
    perturb: Perturbation = NO_PERTURBATION,
    linger_steps: int = 3,
) -> Episode:
    """One episode from a seed, labelled by the expert at every step. Arguments as those of :func:`drive`."""
    steps: list[Step] = []

    def keep(observation: Observation, label: Array) -> None:
        if len(observation["cloud"]):
            image = env.posed_image(observation["image"]) if "image" in observation else None
            steps.append(Step(observation["cloud"], observation["state"], label.astype(np.float32), image))

    success = drive(env, seed, keep, act=act, takeover_step=takeover_step, perturb=perturb, linger_steps=linger_steps)
    return Episode(
        task=env.task.name,
        instruction=env.task.instructions[seed % len(env.task.instructions)],
        steps=steps,
        success=success,
        info={"seed": seed, "source": "dagger" if act is not None else "scripted"},
    )


def drive(
    env: CellEnv,
    seed: int,
    on_step: Callable[[Observation, Array], None],
    *,
    act: Act | None = None,
    takeover_step: int | None = None,
    perturb: Perturbation = NO_PERTURBATION,
    linger_steps: int = 3,
) -> bool:
    """Drive from a seed's start to the end; returns whether the task was done.

    Args:
        on_step: called with every observation and the expert's action (7,) for it.
        act: drives instead of the expert, given the observation; returns a (7,) action.
        takeover_step: from this step on the expert drives all the same.
        perturb: disturbs what is executed.
        linger_steps: how long to go on after success, so that the end is seen too.
    """
    perturber = Perturber(perturb, np.random.default_rng((seed, 1)))
    observation, _ = env.reset(seed=seed)
    success = False
    left: int | None = None
    while True:
        label = env.expert().to_array()
        on_step(observation, label)
        driven = act is not None and not (takeover_step is not None and env.steps >= takeover_step)
        intended = act(observation) if act is not None and driven else label
        executed = perturber.disturb(intended, env.view.T_base_tcp)
        observation, _, terminated, truncated, _ = env.step(intended if executed is None else executed)
        success = success or terminated
        left = linger_steps if terminated and left is None else left
        if truncated or left == 0:
            return success
        left = None if left is None else left - 1


def collect(config: CollectConfig, progress: Callable[[int, int], Any] | None = None) -> CollectResult:
    """Collect into a store, in parallel processes; the store's content does not depend on their number.

    Expert episodes that fail are left out; episodes driven by a policy are kept whatever their end, their labels are
    the expert's. An interrupted run leaves a readable store, to which the next run appends.

    Args:
        progress: called with (episodes kept, episodes asked for) after each.

    Raises:
        StoreError: the directory holds something else.
        UnknownTaskError: no such task.
        CheckpointError, ValueError: the policy cannot be read, or sees images and none are made.
    """
    if config.policy is not None:
        _check_sight(config.policy, config.image_size)
    writer = StoreWriter(config.store, config.env.spec, image_size=config.image_size)
    kept = attempts = successes = 0
    for episode in _in_order(config):
        attempts += 1
        successes += episode.success
        if episode.success or config.policy is not None:
            writer.append(episode)
            kept += 1
            if progress is not None:
                progress(kept, config.episodes)
        if kept == config.episodes:
            break
    return CollectResult(kept, attempts, successes, writer.steps)


def _in_order(config: CollectConfig) -> Iterator[Episode]:
    """Episodes by seed, as if one process had run them."""

    def seeds() -> Iterator[int]:
        seed = config.first_seed
        while True:
            yield seed
            seed += 1

    episodes = map_unordered(_run_seed, seeds(), workers=config.workers, setup=_begin_worker, setup_arguments=(config,))
    yield from in_order(episodes, config.first_seed)


def _check_sight(policy: Path, image_size: int) -> None:
    """Raise ValueError for a policy that sees images of another size than those that are made."""
    from clar_core.models.registry import image_pixels
    from clar_core.training.checkpoints import load_checkpoint

    pixels = image_pixels(load_checkpoint(policy).config.encoder)
    if pixels not in (0, image_size):
        raise ValueError(
            f"image_size: the policy of {policy} sees colour images of {pixels} pixels, "
            f"expected --image-size {pixels}, got {image_size}"
        )


class _PolicyDriver:
    """A checkpoint that drives episodes, one after the other."""

    def __init__(self, checkpoint: Path) -> None:
        import torch

        from clar_core.runtime import PolicyRuntime

        torch.set_num_threads(1)
        self._runtime = PolicyRuntime.load(checkpoint, device="cpu", dtype="float32")
        self._instruction = ""

    def begin(self, instruction: str) -> None:
        """Forget the episode before; a policy with language is told this sentence."""
        self._runtime.reset()
        self._instruction = instruction

    def act(self, observation: Observation) -> Array:
        """The action (7,); it stays where it is while there are too few points to decide."""
        if len(observation["cloud"]) < self._runtime.spec.min_cloud_points:
            return np.array([0.0] * 6 + [1.0])
        decision = self._runtime.act(
            observation["cloud"], observation["state"], self._instruction, image=observation.get("image")
        )
        return decision.action.to_array()


_worker: tuple[CollectConfig, CellEnv, _PolicyDriver | None] | None = None


def _begin_worker(config: CollectConfig) -> None:
    global _worker
    driver = None if config.policy is None else _PolicyDriver(config.policy)
    env = CellEnv(replace(config.env, task=config.task, image_size=config.image_size))
    _worker = (config, env, driver)


def _run_seed(seed: int) -> Episode:
    assert _worker is not None
    config, env, driver = _worker
    if driver is None:
        return rollout(env, seed, perturb=config.perturb)
    rng = np.random.default_rng((seed, 2))
    takeover = int(rng.integers(10, 60)) if rng.random() < config.expert_share else None
    driver.begin(env.task.instructions[seed % len(env.task.instructions)])
    return rollout(env, seed, act=driver.act, takeover_step=takeover, perturb=config.perturb)
