"""Trials in MetaWorld: one start a seed, spread over worker processes, judged by MetaWorld's own success."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from clar_core.data.metaworld import (
    DEFAULT_CAMERA,
    METAWORLD_SPEC,
    SPECS,
    STEP_S,
    MetaWorldCell,
    action_of,
    environment_action,
)
from clar_core.data.metaworld_tasks import DIFFICULTIES, MULTI_TASK, PREFIX, sentences_of, unseen_sentences_of
from clar_core.evaluation.cell import EvaluationConfig
from clar_core.evaluation.contenders import Contender
from clar_core.evaluation.trials import EXPERT, Actor, PolicyActor, Trial, is_oracle
from clar_core.observation.builder import TooFewPointsError
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.env import Observation
from clar_core.training.checkpoints import CheckpointError
from clar_core.workers import map_unordered

TASKS = tuple(PREFIX + t for t in dict.fromkeys([*(t for group in DIFFICULTIES.values() for t in group), *MULTI_TASK]))
"""Those of the paper; any other task of MetaWorld is taken as well."""


@dataclass(frozen=True, kw_only=True)
class MetaWorldEvaluationConfig(EvaluationConfig):
    """What is evaluated in MetaWorld; see :class:`EvaluationConfig` for the rest.

    Attributes:
        camera: that sees the fresh starts; a checkpoint is chosen under ``corner``, as it was trained.
        recalibrate: whether the observation path is told where that camera stands. False: it is told ``corner``.
        width, height: of the depth image.
        steps: of the environment until a trial has failed.
    """

    front: ClassVar[str] = "in MetaWorld"
    front_version: ClassVar[int] = 1

    camera: str = DEFAULT_CAMERA
    recalibrate: bool = True
    width: int = 320
    height: int = 240
    steps: int = 200

    def check_task(self, task: str) -> None:
        """See :class:`EvaluationConfig`. Tasks are named ``metaworld_reach``; whether the simulator has one it says."""
        if not task.startswith(PREFIX):
            near = get_close_matches(PREFIX + task, TASKS, n=3) or TASKS[:3]
            raise ValueError(
                f"tasks: {task!r} is no MetaWorld task, whose names begin with {PREFIX!r}; did you mean "
                f"{' or '.join(near)}? (policies of the simulated cell: clar eval cell)"
            )

    def sentences_of(self, task: str) -> tuple[str, ...]:
        """See :class:`EvaluationConfig`."""
        name = task.removeprefix(PREFIX)
        if self.sentences == "unseen":
            return unseen_sentences_of(name)
        return sentences_of(name) if self.sentences == "seen" else sentences_of(name)[:1]

    def trials_of(self, task: str, contender: Contender, seeds: Sequence[int]) -> Iterator[Trial]:
        """See :class:`EvaluationConfig`.

        Raises:
            ImportError: MetaWorld is not installed.
            ValueError: MetaWorld has no such task, or the scene no such camera; an oracle control.
            CheckpointError: it was trained on observations of another world.
            WorkerDiedError: a worker ended without an answer.
        """
        under_selection = contender.role == "selection"
        rollouts = Rollouts(
            task=task.removeprefix(PREFIX),
            source=contender.source,
            sentences=self.sentences_of(task),
            camera=DEFAULT_CAMERA if under_selection else self.camera,
            recalibrate=under_selection or self.recalibrate,
            width=self.width,
            height=self.height,
            steps=self.steps,
        )
        rollouts.check()
        for _, trial in map_unordered(
            _run_in_worker, seeds, workers=self.workers, setup=_set_up_worker, setup_arguments=(rollouts,)
        ):
            yield trial


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """What a worker runs; fields as in :class:`MetaWorldEvaluationConfig`, the task by MetaWorld's own name."""

    task: str
    source: str
    sentences: tuple[str, ...]
    camera: str = DEFAULT_CAMERA
    recalibrate: bool = True
    width: int = 320
    height: int = 240
    steps: int = 200

    def check(self) -> None:
        """Raise what would go wrong in every worker, before any starts."""
        if is_oracle(self.source):
            raise ValueError(f"{self.source}: an oracle reads object poses of the simulated cell, not of MetaWorld")
        if self.source == EXPERT:
            return
        actor = PolicyActor(Path(self.source))
        spec_of(actor, self.source)
        for sentence in self.sentences:
            actor.begin(sentence)


class MetaWorldExpert:
    """The task's scripted policy, which reads the true state."""

    def __init__(self, cell: MetaWorldCell) -> None:
        self._cell = cell
        self.observation: NDArray[np.float64] = np.zeros(39)

    def begin(self, instruction: str) -> None:
        """See ``trials.Actor``."""

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """See ``trials.Actor``."""
        del observation
        return action_of(self._cell.policy.get_action(self.observation)).astype(np.float64)


def spec_of(actor: Actor, source: str) -> ObservationSpec:
    """How an actor sees: the world, or the view of the control. Raises CheckpointError for any other observation."""
    if not isinstance(actor, PolicyActor):
        return METAWORLD_SPEC
    spec = actor.runtime.spec
    if spec not in SPECS.values():
        raise CheckpointError(
            f"{source}/config.json: trained on observations of {spec.base_frame}, not of MetaWorld: "
            f"{'; '.join(spec.differences(METAWORLD_SPEC))} (checkpoint, MetaWorld); train on a store of "
            "`clar data metaworld`"
        )
    return spec


def run_trial(cell: MetaWorldCell, actor: Actor, seed: int, rollouts: Rollouts) -> Trial:
    """Run one trial until success in any step, the limit of steps, or an observation without points."""
    spec = spec_of(actor, rollouts.source)
    observation = cell.reset(seed)
    start_m = (float(observation[4]), float(observation[5]))
    told = None if rollouts.recalibrate else cell.pose_of(DEFAULT_CAMERA)
    sentence = rollouts.sentences[seed % len(rollouts.sentences)]
    actor.begin(sentence)
    reason, steps, deciding_s, started = "step limit", 0, 0.0, time.perf_counter()
    while steps < rollouts.steps:
        seen: Observation = {}
        if isinstance(actor, MetaWorldExpert):
            actor.observation = observation
        else:
            try:
                seen = _seen(cell, actor, cell.state(observation, spec), told)
            except TooFewPointsError:
                reason = "too few points"
                break
        asked = time.perf_counter()
        action = actor.act(seen)
        deciding_s += time.perf_counter() - asked
        observation, _, terminated, truncated, info = cell.env.step(environment_action(action))
        steps += 1
        if info.get("success", 0.0) > 0.5:
            reason = "success"
            break
        if terminated or truncated:
            break
    return Trial(
        seed=seed,
        success=reason == "success",
        steps=steps,
        duration_s=round(steps * STEP_S, 4),
        wall_s=round(time.perf_counter() - started, 3),
        reason=reason,
        decision_ms=round(1000.0 * deciding_s / max(1, steps), 3),
        start_m=start_m,
        instruction=sentence,
    )


def _seen(
    cell: MetaWorldCell, actor: Actor, state: NDArray[np.float32], told: NDArray[np.float64] | None
) -> Observation:
    """State, and the cloud or, for a policy that sees images, the image; rendered only where it is looked at."""
    if isinstance(actor, PolicyActor) and actor.runtime.image_size:
        return {"state": state, "image": cell.image(actor.runtime.image_size)}
    return {"state": state, "cloud": cell.cloud(spec_of(actor, ""), told)}


_cell: MetaWorldCell
_actor: Actor
_rollouts: Rollouts


def _set_up_worker(rollouts: Rollouts) -> None:
    global _cell, _actor, _rollouts
    _rollouts = rollouts
    _cell = MetaWorldCell(rollouts.task, rollouts.camera, rollouts.width, rollouts.height)
    if rollouts.source == EXPERT:
        _actor = MetaWorldExpert(_cell)
    else:
        import torch

        # The parallelism is in the processes.
        torch.set_num_threads(1)
        _actor = PolicyActor(Path(rollouts.source))


def _run_in_worker(seed: int) -> Trial:
    return run_trial(_cell, _actor, seed, _rollouts)
