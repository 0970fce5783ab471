"""Trials in the gymnasium front of the simulated cell: one start a seed, spread over worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clar_core.evaluation.statistics import Percentiles, Proportion
from clar_core.simulation.camera import CameraMove
from clar_core.simulation.env import STEP_S, CellEnv, EnvConfig, Observation
from clar_core.simulation.tasks import get_task
from clar_core.workers import map_unordered

EXPERT = "expert"
SELECTION_SEEDS = 500_000
"""Seeds on which checkpoints are chosen. Data are collected below."""
FRESH_SEEDS = 1_000_000
"""Seeds from here on are for what is reported: neither training nor the choice of a checkpoint saw them."""

LIVE_SEEDS = 2_000_000
"""The same for the live stack."""
ORACLE_FILE = "oracle.json"


@dataclass(frozen=True)
class Trial:
    """Outcome of one trial.

    Attributes:
        seed: start that was drawn.
        success: whether the task's predicate held within its time limit.
        steps: 10 Hz steps taken.
        duration_s: the same in simulated seconds.
        wall_s: wall time of the loop, without the reset.
        reason: why it ended: "success", "time limit", "too few points", or why the arm would halt.
        decision_ms: mean wall time of one decision.
        start_m: where the object that is handled first stood, x and y in the base frame.
        instruction: sentence that the policy was given.
        states: (steps + 1, nq) generalised positions of the cell, kept of failures to be drawn again; not in JSON.
    """

    seed: int
    success: bool
    steps: int
    duration_s: float
    wall_s: float
    reason: str
    decision_ms: float
    start_m: tuple[float, float] = (0.0, 0.0)
    instruction: str = ""
    states: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "states"}
        return values | {"start_m": [round(v, 4) for v in self.start_m]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The trial of :meth:`to_dict`. Raises TypeError for unknown or missing fields."""
        return cls(**values | {"start_m": tuple(values.get("start_m", (0.0, 0.0)))})


class Actor(Protocol):
    """Whoever drives a trial."""

    def begin(self, instruction: str) -> None:
        """A trial begins: forget the one before. Policies with language are given this sentence."""

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """The 7-D action (7,) for an observation of :class:`CellEnv`."""


class ExpertActor:
    """The task's scripted expert; reads the true state of the environment, not the observation."""

    def __init__(self, env: CellEnv) -> None:
        self._env = env

    def begin(self, instruction: str) -> None:
        """See :class:`Actor`."""

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """See :class:`Actor`."""
        del observation
        return self._env.expert().to_array()


class PolicyActor:
    """A checkpoint, through the same runtime as the live policy node."""

    def __init__(self, checkpoint: Path) -> None:
        from clar_core.runtime import PolicyRuntime

        # One arithmetic on every machine and under every load: a seed gives the same trial again.
        self.runtime = PolicyRuntime.load(checkpoint, device="cpu", dtype="float32")
        self._instruction = ""

    def begin(self, instruction: str) -> None:
        """See :class:`Actor`. Raises InstructionError for a sentence that the policy cannot understand."""
        self.runtime.check_instruction(instruction)
        self.runtime.reset()
        self._instruction = instruction

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """See :class:`Actor`."""
        decision = self.runtime.act(
            observation.get("cloud"), observation["state"], self._instruction, image=observation.get("image")
        )
        return decision.action.to_array()


def run_trial(env: CellEnv, actor: Actor, seed: int, instruction: str = "", *, keep_states: bool = False) -> Trial:
    """Run one trial from the start of a seed until success, the time limit, or an observation without points.

    Args:
        instruction: what the actor is told.
        keep_states: keep the states of a failure.
    """
    observation, info = env.reset(seed=seed)
    actor.begin(instruction)
    start_m = env.start_m
    states = [env.data.qpos.copy()] if keep_states else []
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
        if keep_states:
            states.append(env.data.qpos.copy())
        if terminated or truncated:
            reason = "success" if info["success"] else info["halt"] or "time limit"
            break
    wall_s = time.perf_counter() - started
    success = reason == "success"
    return Trial(
        seed=seed,
        success=success,
        steps=steps,
        duration_s=round(steps * STEP_S, 3),
        wall_s=round(wall_s, 3),
        reason=reason,
        decision_ms=round(1000.0 * deciding_s / max(1, steps), 3),
        start_m=start_m,
        instruction=instruction,
        states=np.array(states, dtype=np.float32) if states and not success else None,
    )


def evaluate(
    task: str,
    actor: str | Path,
    seeds: Sequence[int],
    *,
    instructions: Sequence[str] = (),
    workers: int | None = None,
    render_depth: bool = True,
    camera_move: CameraMove | None = None,
    keep_states: bool = False,
) -> Iterator[Trial]:
    """Run one trial for each seed in worker processes and yield the trials as they finish (not in order of seeds).

    A seed gives the same trial whatever the number of workers and the order.

    Args:
        task: registered task name.
        actor: ``"expert"``, the directory of a checkpoint, or that of an oracle control.
        seeds: see :data:`FRESH_SEEDS`.
        instructions: sentences for the policy, taken in turn by seed; the task's first one when empty.
        workers: processes; the available cores when left out.
        render_depth: False skips the cameras, for the expert only; a blind policy does without by itself.
        camera_move: where the camera stands instead.
        keep_states: keep the states of failures.

    Raises:
        UnknownTaskError, CheckpointError, InstructionError: before anything starts.
        ValueError: a policy without depth.
        WorkerDiedError: a worker ended without an answer.
    """
    sentences = tuple(instructions) or get_task(task).instructions[:1]
    needs_depth, pixels = False, 0
    if actor != EXPERT and not is_oracle(actor):
        if not render_depth:
            raise ValueError("render_depth: a policy needs a camera, only the expert does without")
        policy = PolicyActor(Path(actor))
        for sentence in sentences:
            policy.begin(sentence)
        pixels = policy.runtime.image_size
        needs_depth = not pixels and not policy.runtime.is_blind
    config = EnvConfig(task=task, render_depth=needs_depth, image_size=pixels, camera_move=camera_move)
    arguments = (config, actor, sentences, keep_states)
    for _, trial in map_unordered(
        _run_in_worker, seeds, workers=workers, setup=_set_up_worker, setup_arguments=arguments
    ):
        yield trial


def is_oracle(actor: str | Path) -> bool:
    """Whether a directory holds an oracle control, which reads true object poses instead of a cloud."""
    return (Path(actor) / ORACLE_FILE).is_file()


def tasks_of(checkpoint: str | Path) -> tuple[str, ...]:
    """Names of the tasks that a checkpoint was trained for.

    Raises:
        CheckpointError: no readable checkpoint is there.
        ValueError: the expert, who knows every task, or a checkpoint that does not say.
    """
    if checkpoint == EXPERT:
        raise ValueError("the expert can do every task: say which with --task")
    from clar_core.training.checkpoints import load_checkpoint

    tasks = tuple(str(name) for name in load_checkpoint(Path(checkpoint)).provenance.get("tasks", []))
    if not tasks:
        raise ValueError(f"{checkpoint}: was trained for no named task: say which with --task")
    return tasks


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
_sentences: tuple[str, ...]
_keep_states: bool


def make_actor(env: CellEnv, actor: str | Path) -> Actor:
    """The expert, a policy or an oracle control, for this environment."""
    if actor == EXPERT:
        return ExpertActor(env)
    if is_oracle(actor):
        from clar_core.training.oracle import OracleActor

        return OracleActor(env, Path(actor))
    return PolicyActor(Path(actor))


def _set_up_worker(config: EnvConfig, actor: str | Path, sentences: tuple[str, ...], keep_states: bool) -> None:
    global _env, _actor, _sentences, _keep_states
    if actor != EXPERT:
        import torch

        # The parallelism is in the processes.
        torch.set_num_threads(1)
    _env = CellEnv(config)
    _actor = make_actor(_env, actor)
    _sentences, _keep_states = sentences, keep_states


def _run_in_worker(seed: int) -> Trial:
    return run_trial(_env, _actor, seed, _sentences[seed % len(_sentences)], keep_states=_keep_states)
