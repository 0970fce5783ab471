"""Trials in RLBench: a policy names keyframes, the simulator's planner goes there, RLBench judges."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from clar_core.data.rlbench_scene import TASKS
from clar_core.evaluation.cell import EvaluationConfig
from clar_core.evaluation.contenders import Contender
from clar_core.evaluation.rlbench_actors import OURS, RVT2, KeyframeActor, make_actor
from clar_core.evaluation.rlbench_simulator import Simulator, UnreachableError, require_simulator
from clar_core.evaluation.rvt2 import IMAGE_SIZE, require_rvt2
from clar_core.evaluation.trials import Trial
from clar_core.observation.builder import TooFewPointsError
from clar_core.runtime import PolicyOutputError
from clar_core.workers import map_unordered


@dataclass(frozen=True, kw_only=True)
class RLBenchEvaluationConfig(EvaluationConfig):
    """What is evaluated in RLBench; see :class:`EvaluationConfig` for the rest.

    Sentences are RLBench's own: ``first`` of the descriptions, or all of them (``seen``) in turn by seed.

    Attributes:
        policy: whose ``checkpoint`` it is, ``clar`` or ``rvt2``.
        camera: that our policies see through.
        image_size: side of the square images in pixels.
        steps: keyframes until a trial has failed.
    """

    front: ClassVar[str] = "in RLBench"
    front_version: ClassVar[int] = 1

    policy: str = OURS
    camera: str = "front"
    image_size: int = 128
    steps: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy not in (OURS, RVT2):
            raise ValueError(f"--policy: expected {OURS} or {RVT2}, got {self.policy!r}")
        for name in ("image_size", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')}: expected a positive number, got {getattr(self, name)}")
        if self.sentences == "unseen":
            raise ValueError("--sentences: RLBench has no sentences beside those of its demonstrations; first or seen")
        if self.policy == RVT2 and not self.tasks:
            raise ValueError(f"--tasks: RVT-2's weights do not say what they were trained for; such as {TASKS[0]}")
        if self.policy == RVT2 and self.image_size != IMAGE_SIZE:
            raise ValueError(f"--image-size: RVT-2 sees images of {IMAGE_SIZE} pixels, got {self.image_size}")

    def check_task(self, task: str) -> None:
        """See :class:`EvaluationConfig`. Whether RLBench has a task it says itself, when it starts."""
        if not re.fullmatch(r"[a-z0-9_]+", task):
            raise ValueError(f"tasks: {task!r} is no RLBench task; expected names such as {', '.join(TASKS)}")

    def sentences_of(self, task: str) -> tuple[str, ...]:
        """None beforehand: RLBench gives them with each episode."""
        return ()

    def identity(self, contenders: Sequence[Contender]) -> dict[str, Any]:
        """See :class:`EvaluationConfig`; RLBench's version too, and of RVT-2 its file's digest."""
        values = super().identity(contenders) | {"rlbench": require_simulator()}
        if self.policy == RVT2:
            values["weights"] = {c.key: _file_digest(Path(c.source)) for c in contenders}
        return values

    def trials_of(self, task: str, contender: Contender, seeds: Sequence[int]) -> Iterator[Trial]:
        """See :class:`EvaluationConfig`.

        Raises:
            SimulatorMissingError, Rvt2MissingError: what is missing, and what to install.
            CheckpointError: it cannot be read, or its actions are no keyframes.
            ValueError: RLBench has no such task.
            WorkerDiedError: a worker ended without an answer.
        """
        rollouts = Rollouts(
            task=task,
            source=contender.source,
            policy=self.policy,
            camera=self.camera,
            image_size=self.image_size,
            steps=self.steps,
            in_turn=self.sentences == "seen",
        )
        for _, trial in map_unordered(
            _run_in_worker, seeds, workers=self.workers, setup=_set_up_worker, setup_arguments=(rollouts,)
        ):
            yield trial

    def require(self) -> None:
        """Raise SimulatorMissingError or Rvt2MissingError for what is not installed."""
        require_simulator()
        if self.policy == RVT2:
            require_rvt2()


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """What a worker runs; fields as in :class:`RLBenchEvaluationConfig`.

    Attributes:
        source: checkpoint or file of weights.
        in_turn: whether all of RLBench's descriptions are told, in turn by seed.
    """

    task: str
    source: str
    policy: str = OURS
    camera: str = "front"
    image_size: int = 128
    steps: int = 25
    in_turn: bool = False


def run_trial(simulator: Simulator, actor: KeyframeActor, seed: int, rollouts: Rollouts) -> Trial:
    """Run one trial until success, no path, or the limit of keyframes."""
    descriptions, seen = simulator.reset(seed)
    sentence = descriptions[seed % len(descriptions)] if rollouts.in_turn else descriptions[0]
    actor.begin(sentence)
    reason, steps, deciding_s, started = "step limit", 0, 0.0, time.perf_counter()
    begin_s = simulator.time_s()
    while steps < rollouts.steps:
        asked = time.perf_counter()
        try:
            pose, is_open = actor.decide(seen)
        except TooFewPointsError:
            reason = "too few points"
            break
        except PolicyOutputError:
            reason = "no pose"
            break
        deciding_s += time.perf_counter() - asked
        steps += 1
        try:
            seen, success, over = simulator.go(pose, is_open)
        except UnreachableError:
            reason = "no path"
            break
        if success or over:
            reason = "success" if success else "ended by the task"
            break
    return Trial(
        seed=seed,
        success=reason == "success",
        steps=steps,
        duration_s=round(simulator.time_s() - begin_s, 3),
        wall_s=round(time.perf_counter() - started, 3),
        reason=reason,
        decision_ms=round(1000.0 * deciding_s / max(1, steps), 3),
        instruction=sentence,
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


_simulator: Simulator
_actor: KeyframeActor
_rollouts: Rollouts


def _set_up_worker(rollouts: Rollouts) -> None:
    global _simulator, _actor, _rollouts
    import torch

    # The parallelism is in the processes.
    torch.set_num_threads(1)
    _rollouts = rollouts
    _actor = make_actor(rollouts.policy, rollouts.source, camera=rollouts.camera, steps=rollouts.steps)
    _simulator = Simulator(rollouts.task, cameras=_actor.cameras, image_size=rollouts.image_size, colour=_actor.colour)


def _run_in_worker(seed: int) -> Trial:
    return run_trial(_simulator, _actor, seed, _rollouts)
