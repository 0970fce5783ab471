"""Trials in the gymnasium front of the simulated cell: one start a seed, spread over worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clar_core.evaluation.statistics import Percentiles, Proportion
from clar_core.simulation.env import STEP_S, CellEnv, EnvConfig
from clar_core.simulation.tasks import get_task
from clar_core.workers import map_unordered

EXPERT = "expert"
FRESH_SEEDS = 1_000_000
"""Seeds from here on are for evaluation. Data collection stays below, so that no start was seen in training."""

Observation = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Trial:
    """Outcome of one trial.

    Attributes:
        seed: start that was drawn.
        success: whether the task's predicate held within its time limit.
        steps: 10 Hz steps taken.
        duration_s: the same in simulated seconds.
        wall_s: wall time of the loop, without the reset.
        reason: why it ended: "success", "time limit", "too few points", or what the envelope halted for.
        decision_ms: mean wall time of one decision.
    """

    seed: int
    success: bool
    steps: int
    duration_s: float
    wall_s: float
    reason: str
    decision_ms: float

    def to_dict(self) -> dict[str, object]:
        """As plain values for JSON."""
        return asdict(self)


class Actor(Protocol):
    """Whoever drives a trial."""

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """The 7-D action (7,) for an observation of :class:`CellEnv`."""


class ExpertActor:
    """The task's scripted expert; reads the true state of the environment, not the observation."""

    def __init__(self, env: CellEnv) -> None:
        self._env = env

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """See :class:`Actor`."""
        del observation
        return self._env.expert().to_array()


class PolicyActor:
    """A checkpoint, through the same runtime as the live policy node."""

    def __init__(self, checkpoint: Path, instruction: str) -> None:
        from clar_core.runtime import PolicyRuntime

        self.runtime = PolicyRuntime.load(checkpoint, device="cpu")
        self._instruction = instruction

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """See :class:`Actor`."""
        decision = self.runtime.act(observation["cloud"], observation["state"], self._instruction)
        return decision.action.to_array()


def run_trial(env: CellEnv, actor: Actor, seed: int) -> Trial:
    """Run one trial from the start of a seed until success, the time limit, or an observation without points."""
    observation, info = env.reset(seed=seed)
    steps, deciding_s, started = 0, 0.0, time.perf_counter()
    while True:
        if info["too_few_points"]:
            reason = "too few points"
            break
        asked = time.perf_counter()
        action = actor.act(observation)
        deciding_s += time.perf_counter() - asked
        observation, _, terminated, truncated, info = env.step(action)
        steps += 1
        if terminated or truncated:
            reason = "success" if info["success"] else info["halt"] or "time limit"
            break
    wall_s = time.perf_counter() - started
    return Trial(
        seed=seed,
        success=reason == "success",
        steps=steps,
        duration_s=round(steps * STEP_S, 3),
        wall_s=wall_s,
        reason=reason,
        decision_ms=1000.0 * deciding_s / max(1, steps),
    )


def evaluate(
    task: str,
    actor: str | Path,
    seeds: Sequence[int],
    *,
    instruction: str = "",
    workers: int | None = None,
    render_depth: bool = True,
) -> Iterator[Trial]:
    """Run one trial for each seed in worker processes and yield the trials as they finish (not in order of seeds).

    A seed gives the same trial whatever the number of workers and the order.

    Args:
        task: registered task name.
        actor: ``"expert"``, or the directory of a checkpoint.
        seeds: see :data:`FRESH_SEEDS`.
        instruction: sentence for the policy; the task's first one when empty.
        workers: processes; the available cores when left out.
        render_depth: False skips the camera, for the expert only.

    Raises:
        UnknownTaskError, CheckpointError: before anything starts.
        ValueError: a policy without depth.
        WorkerDiedError: a worker ended without an answer.
    """
    sentence = instruction or get_task(task).instructions[0]
    if actor != EXPERT:
        if not render_depth:
            raise ValueError("render_depth: a policy needs the depth camera, only the expert does without")
        PolicyActor(Path(actor), sentence)
    arguments = (task, actor, sentence, render_depth)
    for _, trial in map_unordered(
        _run_in_worker, seeds, workers=workers, setup=_set_up_worker, setup_arguments=arguments
    ):
        yield trial


def task_of(checkpoint: str | Path) -> str:
    """Name of the task that a checkpoint was trained for.

    Raises:
        CheckpointError: no readable checkpoint is there.
        ValueError: the expert, who knows every task, or a checkpoint that does not say or knows several.
    """
    if checkpoint == EXPERT:
        raise ValueError("the expert can do every task: say which with --task")
    from clar_core.training.checkpoints import load_checkpoint

    tasks = [str(name) for name in load_checkpoint(Path(checkpoint)).provenance.get("tasks", [])]
    if len(tasks) != 1:
        raise ValueError(f"{checkpoint}: was trained for {', '.join(tasks) or 'no named task'}: say which with --task")
    return tasks[0]


def summarize(trials: Sequence[Trial]) -> dict[str, object]:
    """Success with its interval, durations of the successful trials, reasons of the others; plain values for JSON."""
    outcome = Proportion(sum(t.success for t in trials), len(trials))
    low, high = outcome.interval()
    failures: dict[str, int] = {}
    for trial in trials:
        if not trial.success:
            failures[trial.reason] = failures.get(trial.reason, 0) + 1
    return {
        "trials": outcome.trials,
        "successes": outcome.successes,
        "success_rate": outcome.rate if trials else None,
        "wilson_95": [low, high],
        "duration_s": Percentiles.of(t.duration_s for t in trials if t.success).to_dict(),
        "decision_ms": Percentiles.of(t.decision_ms for t in trials).to_dict(),
        "failures": failures,
        "failed_seeds": sorted(t.seed for t in trials if not t.success),
    }


_env: CellEnv
_actor: Actor


def _set_up_worker(task: str, actor: str | Path, instruction: str, render_depth: bool) -> None:
    global _env, _actor
    _env = CellEnv(EnvConfig(task=task, render_depth=render_depth))
    if actor == EXPERT:
        _actor = ExpertActor(_env)
        return
    import torch

    # The parallelism is in the processes.
    torch.set_num_threads(1)
    _actor = PolicyActor(Path(actor), instruction)


def _run_in_worker(seed: int) -> Trial:
    return run_trial(_env, _actor, seed)
