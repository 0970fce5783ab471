"""The suite: its stages in order, what is skipped, and the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clar_core.simulation.tasks import TASKS, UnknownTaskError
from clar_core.training import finished, suite
from clar_core.training.loop import TrainingError
from clar_core.training.run_directory import FILE
from clar_core.training.suite import SuiteConfig, run_suite, table

RESULTS: dict[str, Any] = {
    "tasks": {
        "pick_banana": {"policy": [90, 100], "blind": [5, 100], "camera_recalibrated": [45, 50]},
        "put_bread": {"policy": [80, 100], "blind": [0, 100]},
    },
    "multi_task": {"pick_banana": [70, 100], "put_bread": [60, 100]},
}


def test_the_table_has_intervals_and_means_of_complete_columns() -> None:
    text = table(RESULTS)
    assert "| `pick_banana` | 90 % (90/100, 83-94) | 5 % (5/100, 2-11) | 90 % (45/50, 79-96) |" in text
    assert "| mean | 85 % | 2 % | - | 65 % |" in text
    assert "one policy, unseen sentences" in text


def test_stages_that_are_done_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(config: Any) -> Path:
        trained.append(str(config.output.relative_to(tmp_path)))
        config.output.mkdir(parents=True)
        (config.output / FILE).write_text("done")
        return config.output

    monkeypatch.setattr(suite, "train_imitation", train)
    monkeypatch.setattr(suite, "is_finished", lambda training: (training.output / FILE).exists())
    monkeypatch.setattr(suite, "collect", lambda config: None)
    controlled: list[str] = []
    monkeypatch.setattr(suite, "train_controls", lambda run, perturb: controlled.append(run.name))
    monkeypatch.setattr(suite, "_evaluate", lambda config, task, say: {"policy": [1, 2]})
    monkeypatch.setattr(suite, "_evaluate_all", lambda config, say: {"pick_banana": [1, 2], "put_bread": [2, 2]})
    config = SuiteConfig(output=tmp_path, tasks=("pick_banana", "put_bread"), init_from=tmp_path / "encoder")
    run_suite(config, lambda text: None)
    assert trained == [
        "runs/policy/pick_banana",
        "runs/scratch/pick_banana",
        "runs/policy/put_bread",
        "runs/scratch/put_bread",
        "runs/multi_task/all",
    ]
    run_suite(config, lambda text: None)
    assert len(trained) == 5
    assert controlled == ["pick_banana", "put_bread"] * 2
    assert (tmp_path / "results.md").read_text().startswith("| task | policy |")
    more = replace(config, tasks=("open_drawer",), scratch=False, controls=False, multi_task=False)
    results = run_suite(more, lambda text: None)
    assert trained[5:] == ["runs/policy/open_drawer"]
    assert len(controlled) == 4
    assert list(results["tasks"]) == ["pick_banana", "put_bread", "open_drawer"]
    assert results["multi_task"] == {"pick_banana": [1, 2], "put_bread": [2, 2]}
    monkeypatch.setattr(suite, "_evaluate", lambda config, task, say: {"camera_recalibrated": [3, 4]})
    results = run_suite(replace(more, tasks=("put_bread",)), lambda text: None)
    assert results["tasks"]["put_bread"] == {"policy": [1, 2], "camera_recalibrated": [3, 4]}
    elsewhere = replace(config, output=tmp_path / "all", single_task=False)
    results = run_suite(elsewhere, lambda text: None)
    assert trained[6:] == ["all/runs/multi_task/all"]
    assert len(controlled) == 4
    assert "| `put_bread` | 100 % (2/2, 34-100) |" in table(results)


def test_a_finished_run_of_other_settings_is_refused_by_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SuiteConfig(output=tmp_path, tasks=("put_bread",), samples=1000)
    made = SimpleNamespace(provenance={"training": config.training("policy", "put_bread").to_dict()})
    monkeypatch.setattr(finished, "load_checkpoint", lambda directory: made)
    monkeypatch.setattr(suite, "_demonstrate", lambda config, task, say: None)
    monkeypatch.setattr(suite, "_evaluate", lambda config, task, say: {"policy": [1, 2]})
    monkeypatch.setattr(suite, "train_controls", lambda run, perturb: None)
    run = config.run("policy", "put_bread")
    run.mkdir(parents=True)
    (run / FILE).write_text("done")
    run_suite(config, lambda text: None)
    with pytest.raises(TrainingError, match=r"put_bread: finished with samples 1000, and 2000 is asked for"):
        run_suite(replace(config, samples=2000), lambda text: None)


def test_every_run_differs_only_in_what_it_is_about(tmp_path: Path) -> None:
    config = SuiteConfig(output=tmp_path, init_from=tmp_path / "encoder")
    policy, scratch = (config.training(name, "put_bread").to_dict() for name in ("policy", "scratch"))
    differing = {name for name in policy if policy[name] != scratch[name]}
    assert differing == {"output", "init_from", "init_encoder_only", "encoder_training"}
    several = config.training("multi_task", "all")
    assert several.language
    assert several.samples == len(TASKS) * config.samples
    assert len(several.stores) == len(TASKS)
    assert replace(config, multi_task_samples=900).training("multi_task", "all").samples == 900
    with pytest.raises(ValueError, match="nothing to train: without single_task"):
        SuiteConfig(tasks=("put_bread",), single_task=False)
    with pytest.raises(UnknownTaskError, match="did you mean put_bread"):
        SuiteConfig(tasks=("put_breads",))
