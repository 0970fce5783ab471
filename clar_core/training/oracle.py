"""The oracle control: the policy's head on true object poses. What it fails at, seeing better would not mend.

It is trained on the expert's rollouts from the very starts of the demonstrations, driven again without a camera, with
the same augmentation: hands shifted against the scene, samples moved as a whole. It begins from nothing and its steps
cost little, so it makes four times as many as the run: what it tells of is the data, not the patience. It can only be
tried where the true state is known: in the simulated cell.

oracle.json          tasks, their objects, units, SHA-256 of the weights
oracle.safetensors   weights
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from clar_core.control.action import Action
from clar_core.data.augmentation import AugmentationConfig, draw_motion
from clar_core.data.datasets import Demonstrations
from clar_core.data.hand_shift import approaches, shift_hand
from clar_core.data.planar_motion import PlanarMotion
from clar_core.evaluation.trials import ORACLE_FILE
from clar_core.losses import policy_loss
from clar_core.models.policy import Policy, PolicyHeadConfig
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.collect import drive
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.perturbation import Perturbation
from clar_core.simulation.tasks import TASKS
from clar_core.training.config import ImitationConfig
from clar_core.training.loop import (
    AveragedWeights,
    TrainingError,
    learning_rate_factor,
    parameter_groups,
    reestimate_batch_norm,
)
from clar_core.training.normalizer import STATE_CLIP, Normalizer

Array = NDArray[np.float32]
Progress = Callable[[str, int, int], Any]

_WEIGHTS = "oracle.safetensors"
_OBJECT_STD_FLOOR = np.array([0.01] * 3 + [0.03] * 6, dtype=np.float32)
_VIEWS = 32
_LONGER = 4
_STATISTICS_BATCHES = 64


class Steps(NamedTuple):
    """Objects (T, 9 for each body), states (T, 10) and actions (T, 7) over time."""

    objects: Array
    states: Array
    actions: Array


class _Objects(nn.Module):
    """An encoder that is none: the objects' state is the feature."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.feature_dim = size


class OracleActor:
    """Drives trials with an oracle control; reads the true state of the environment, not the observation."""

    def __init__(self, env: CellEnv, directory: Path) -> None:
        facts = json.loads((directory / ORACLE_FILE).read_bytes())
        if env.task.name not in facts["tasks"]:
            raise TrainingError(
                f"{directory / ORACLE_FILE}: knows {', '.join(facts['tasks'])}, not {env.task.name}; train it on that "
                "task: clar train controls"
            )
        known = facts["tasks"][env.task.name]
        self._env = env
        self._normalizer = Normalizer.from_dict(known["normalizer"])
        self._mean, self._std = (np.array(known[name], dtype=np.float32) for name in ("mean", "std"))
        self._policy = _policy(len(self._mean))
        prefix = f"{env.task.name}/"
        tensors = load_tensors((directory / _WEIGHTS).read_bytes())
        self._policy.load_state_dict({n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)})
        self._policy.eval()

    def begin(self, instruction: str) -> None:
        """It is told no sentence: it was trained for the task of its environment."""

    @torch.inference_mode()
    def act(self, observation: dict[str, Array]) -> NDArray[np.float64]:
        """The action (7,) for the true state."""
        objects = self._env.view.object_state(self._env.task.objects).astype(np.float32)
        feature = _normalised(objects, self._mean, self._std)
        state = self._normalizer.normalise_state(observation["state"])
        output = self._policy.decide(torch.from_numpy(feature)[None], torch.from_numpy(state)[None])
        return Action.from_array(self._normalizer.denormalise_action(output[0].numpy())).to_array()


def train_oracle(
    config: ImitationConfig, directory: Path, *, perturb: Perturbation, progress: Progress | None = None
) -> Path:
    """Train the oracle control that belongs to a run; returns its directory.

    Args:
        config: of the run.
        perturb: how the demonstrations were disturbed.
        progress: called with (what, done, of).

    Raises:
        TrainingError: the demonstrations are not of the simulated cell.
    """
    data = Demonstrations.load(config.stores, require_success=True)
    facts: dict[str, Any] = {}
    tensors: dict[str, torch.Tensor] = {}
    for task in data.tasks():
        seeds = [e.info.get("seed") for e in data.episodes if e.task == task and e.info.get("source") == "scripted"]
        if task not in TASKS or not seeds or None in seeds:
            raise TrainingError(
                f"oracle_state: task {task!r} of {', '.join(data.fingerprints)} holds no scripted demonstration of the "
                "simulated cell, and only there true object poses are known"
            )
        episodes = _demonstrate(task, [int(seed) for seed in seeds if seed is not None], perturb, progress)
        augmentation = config.augmentation if config.augment else None
        objects, states, actions = varied(episodes, data.spec, augmentation, config.seed)
        normalizer = Normalizer.fit(states, actions)
        floor = np.tile(_OBJECT_STD_FLOOR, objects.shape[1] // len(_OBJECT_STD_FLOOR))
        mean, std = objects.mean(0), np.maximum(objects.std(0), floor)
        arrays = (
            _normalised(objects, mean, std),
            normalizer.normalise_state(states),
            normalizer.normalise_action(actions),
        )
        policy = _fit(config, arrays, f"oracle, {task}", progress)
        tensors |= {f"{task}/{name}": value.contiguous() for name, value in policy.state_dict().items()}
        facts[task] = {"mean": mean.tolist(), "std": std.tolist(), "normalizer": normalizer.to_dict()}
    weights = save_tensors(tensors)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _WEIGHTS).write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    (directory / ORACLE_FILE).write_text(json.dumps({"tasks": facts, "sha256": digest}, indent=2) + "\n")
    return directory


def _demonstrate(task: str, seeds: list[int], perturb: Perturbation, progress: Progress | None) -> list[Steps]:
    """The expert's rollouts without a camera."""
    env = CellEnv(EnvConfig(task=task, render_depth=False))
    rows: list[tuple[Array, Array, Array]] = []

    def keep(observation: dict[str, Array], label: NDArray[np.float64]) -> None:
        objects = env.view.object_state(env.task.objects)
        rows.append((objects.astype(np.float32), observation["state"], label.astype(np.float32)))

    episodes = []
    for number, seed in enumerate(seeds, start=1):
        drive(env, seed, keep, perturb=perturb)
        episodes.append(Steps(*(np.stack(part) for part in zip(*rows, strict=True))))
        rows.clear()
        if progress is not None:
            progress(f"rollouts, {task}", number, len(seeds))
    return episodes


def varied(episodes: list[Steps], spec: ObservationSpec, augmentation: AugmentationConfig | None, seed: int) -> Steps:
    """The steps of all episodes; with augmentation several copies of each, with the hand shifted, moved as a whole."""
    if augmentation is None:
        return Steps(*(np.concatenate(part) for part in zip(*episodes, strict=True)))
    rng = np.random.default_rng((seed, 7))
    rows = []
    for episode in episodes:
        steps = zip(*episode, approaches(episode.states, episode.actions[:, -1], spec), strict=True)
        for o, s, a, approach in steps:
            for _ in range(_VIEWS):
                _, (state,), (action,) = shift_hand(rng, (), s[None], a[None], approach, augmentation, spec)
                motion = draw_motion(rng, state, action, spec, augmentation)
                rows.append((_moved(motion, o), motion.move_state(state), motion.move_action(action)))
    return Steps(*(np.stack(part) for part in zip(*rows, strict=True)))


def _moved(motion: PlanarMotion, objects: Array) -> Array:
    bodies = objects.reshape(-1, 3, 3)
    positions = motion.move_points(bodies[:, :1])
    columns = bodies[:, 1:] @ motion.rotation.T
    return np.concatenate([positions, columns], axis=1).reshape(-1).astype(np.float32)


def _normalised(objects: Array, mean: Array, std: Array) -> Array:
    return np.clip((objects - mean) / std, -STATE_CLIP, STATE_CLIP).astype(np.float32)


def _policy(size: int) -> Policy:
    return Policy(_Objects(size), PolicyHeadConfig())


def _fit(config: ImitationConfig, arrays: tuple[Array, ...], what: str, progress: Progress | None) -> Policy:
    torch.manual_seed(config.seed)
    objects, states, actions = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    policy = _policy(objects.shape[1])
    averaged = AveragedWeights(policy, config.ema_decay)
    optimizer = torch.optim.AdamW(parameter_groups(policy, config.learning_rate, config.weight_decay), fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    policy.train()
    steps = _LONGER * config.steps
    for step in range(steps):
        rows = torch.randint(len(objects), (config.batch_size,), generator=generator)
        factor = learning_rate_factor(step, steps, config.warmup_fraction, 0.0)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        loss = policy_loss(policy.decide(objects[rows], states[rows]), actions[rows]).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_clip)
        optimizer.step()
        averaged.update(policy, step)
        if progress is not None and (step % 500 == 0 or step == steps - 1):
            progress(what, step + 1, steps)
    policy.load_state_dict(averaged.values)
    chunks = [torch.randint(len(objects), (64,), generator=generator) for _ in range(_STATISTICS_BATCHES)]
    reestimate_batch_norm(policy, ((objects[rows], states[rows]) for rows in chunks), policy.decide)
    return policy
