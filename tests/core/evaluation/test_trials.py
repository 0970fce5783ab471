"""Trials in the gymnasium front: outcomes, reasons, and the same result for any number of workers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clar_core.control.action import Action
from clar_core.evaluation.trials import EXPERT, FRESH_SEEDS, Trial, evaluate, run_trial, summarize, tasks_of
from clar_core.models.registry import build_policy
from clar_core.simulation.env import EnvConfig
from clar_core.simulation.tasks import UnknownTaskError
from clar_core.training.checkpoints import CheckpointError, save_checkpoint
from tests.core.training.policies import tiny_checkpoint


class ScriptedEnv:
    """An environment that succeeds at a step, runs out of points at another, and halts at a third."""

    def __init__(self, *, success_at: int = 99, blind_at: int = 99, halt_at: int = 99, limit: int = 6) -> None:
        self.success_at, self.blind_at, self.halt_at, self.limit = success_at, blind_at, halt_at, limit

    start_m = (0.5, 0.1)

    @property
    def data(self) -> Any:
        return SimpleNamespace(qpos=np.full(3, self.steps))

    def reset(self, *, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        self.steps = 0
        return {}, self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        Action.from_array(action)
        self.steps += 1
        info = self._info()
        return {}, 0.0, info["success"], self.steps >= self.limit or info["halt"] is not None, info

    def _info(self) -> dict[str, Any]:
        return {
            "success": self.steps >= self.success_at,
            "too_few_points": self.steps >= self.blind_at,
            "halt": "saturated" if self.steps >= self.halt_at else None,
        }


class Still:
    told = ""

    def begin(self, instruction: str) -> None:
        self.told = instruction

    def act(self, observation: Any) -> np.ndarray:
        return Action.hold(1.0).to_array()


@pytest.mark.parametrize(
    ("script", "success", "reason", "steps"),
    [
        ({"success_at": 3}, True, "success", 3),
        ({}, False, "time limit", 6),
        ({"blind_at": 2}, False, "too few points", 2),
        ({"halt_at": 4}, False, "saturated", 4),
        ({"success_at": 6}, True, "success", 6),
    ],
)
def test_a_trial_says_how_it_ended(script: dict[str, int], success: bool, reason: str, steps: int) -> None:
    trial = run_trial(ScriptedEnv(**script), Still(), 5)  # type: ignore[arg-type]
    assert (trial.seed, trial.success, trial.reason, trial.steps) == (5, success, reason, steps)
    assert trial.duration_s == pytest.approx(0.1 * steps)


def test_the_states_of_a_failure_are_kept_when_asked_for() -> None:
    env, actor = ScriptedEnv(), Still()
    failure = run_trial(env, actor, 5, "wait", keep_states=True)  # type: ignore[arg-type]
    assert failure.states is not None
    assert failure.states[:, 0].tolist() == list(range(7))
    assert (failure.instruction, actor.told, failure.start_m) == ("wait", "wait", (0.5, 0.1))
    assert run_trial(ScriptedEnv(success_at=2), actor, 5, keep_states=True).states is None  # type: ignore[arg-type]
    assert run_trial(env, actor, 5).states is None  # type: ignore[arg-type]


def test_a_trial_survives_json() -> None:
    trial = run_trial(ScriptedEnv(), Still(), 5, "wait", keep_states=True)  # type: ignore[arg-type]
    assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers() -> None:
    seeds = range(FRESH_SEEDS, FRESH_SEEDS + 3)
    runs = [
        sorted(
            (t.seed, t.success, t.steps)
            for t in evaluate("place_cube_in_basin", EXPERT, seeds, workers=n, render_depth=False)
        )
        for n in (1, 2)
    ]
    assert runs[0] == runs[1]
    assert all(success for _, success, _ in runs[0])


def test_an_unknown_task_and_a_missing_checkpoint_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="did you mean open_drawer"):
        list(evaluate("open_draw", EXPERT, [1]))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        list(evaluate("open_drawer", tmp_path / "none", [1]))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        tasks_of(tmp_path / "none")


def test_a_policy_without_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a camera"):
        list(evaluate("open_drawer", tmp_path, [1], render_depth=False))


def test_a_blind_policy_is_tried_without_rendering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EnvConfig] = []

    def without_workers(_: Any, seeds: Any, *, setup_arguments: tuple[Any, ...], **__: Any) -> list[Any]:
        asked.append(setup_arguments[0])
        return []

    monkeypatch.setattr("clar_core.evaluation.trials.map_unordered", without_workers)
    sees = tiny_checkpoint()
    config = replace(sees.config, encoder=None)
    for name, checkpoint in (
        ("sees", sees),
        ("blind", replace(sees, policy=build_policy(config).eval(), config=config)),
    ):
        save_checkpoint(tmp_path / name, checkpoint)
        list(evaluate("open_drawer", tmp_path / name, [FRESH_SEEDS]))
    assert [config.render_depth for config in asked] == [True, False]


def test_the_summary_counts_reasons_and_names_failed_seeds() -> None:
    trials = [
        Trial(3, False, 200, 20.0, 2.0, "time limit", 1.0),
        Trial(1, True, 50, 5.0, 1.0, "success", 1.0),
        Trial(2, False, 200, 20.0, 2.0, "time limit", 1.0),
    ]
    summary = summarize(trials)
    assert (summary["successes"], summary["trials"], summary["failed_seeds"]) == (1, 3, [2, 3])
    assert summary["failures"] == {"time limit": 2}
    assert summary["duration_s"]["p50"] == 5.0  # type: ignore[index]
    assert summarize([])["success_rate"] is None
