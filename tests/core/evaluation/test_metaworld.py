"""Evaluations in MetaWorld: its true environments, with the scripted policy and a tiny network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.cli import evaluate_metaworld as command
from clar_core.data.metaworld import (
    METAWORLD_SPEC,
    VIEW_SPEC,
    MetaWorldCell,
    action_of,
    environment_action,
    in_view,
)
from clar_core.data.metaworld_tasks import DIFFICULTIES, MULTI_TASK, sentences_of, unseen_sentences_of
from clar_core.evaluation.cell import run_evaluation
from clar_core.evaluation.metaworld import MetaWorldEvaluationConfig, MetaWorldExpert, Rollouts, run_trial
from clar_core.evaluation.trials import FRESH_SEEDS, PolicyActor
from clar_core.training.checkpoints import save_checkpoint
from tests.core.training.policies import image_checkpoint, tiny_checkpoint

pytest.importorskip("metaworld")


@pytest.fixture(scope="module")
def cell():
    cell = MetaWorldCell("reach", "corner2", 320, 240)
    yield cell
    cell.close()


def checkpoint(directory: Path, spec=METAWORLD_SPEC) -> str:
    made = replace(tiny_checkpoint(), spec=spec)
    made.provenance["tasks"] = ["metaworld_reach"]
    save_checkpoint(directory, made)
    return str(directory)


def test_the_scripted_policy_succeeds_and_a_trial_repeats(cell: MetaWorldCell) -> None:
    rollouts = Rollouts(task="reach", source="expert", sentences=sentences_of("reach"))
    first = run_trial(cell, MetaWorldExpert(cell), FRESH_SEEDS, rollouts)
    again = run_trial(cell, MetaWorldExpert(cell), FRESH_SEEDS, rollouts)
    assert first.success
    assert (first.steps, first.start_m) == (again.steps, again.start_m)


def test_a_policy_that_sees_images_is_shown_them(cell: MetaWorldCell, tmp_path: Path) -> None:
    made = replace(image_checkpoint(), spec=METAWORLD_SPEC)
    save_checkpoint(tmp_path, made)
    rollouts = Rollouts(task="reach", source=str(tmp_path), sentences=("go",), steps=3)
    trial = run_trial(cell, PolicyActor(tmp_path), FRESH_SEEDS, rollouts)
    assert (trial.steps, trial.reason) == (3, "step limit")


def test_a_policy_of_either_frame_is_tried_in_its_own(cell: MetaWorldCell, tmp_path: Path) -> None:
    for name, spec in (("world", METAWORLD_SPEC), ("view", VIEW_SPEC)):
        source = checkpoint(tmp_path / name, spec)
        rollouts = Rollouts(task="reach", source=source, sentences=("go",), steps=3)
        rollouts.check()
        trial = run_trial(cell, PolicyActor(Path(source)), FRESH_SEEDS, rollouts)
        assert (trial.steps, trial.reason) == (3, "step limit")


def test_both_cameras_see_one_world_and_another_view_each(cell: MetaWorldCell) -> None:
    cell.reset(3)
    truth, believed = cell.T_world_camera, cell.pose_of("corner")
    assert np.linalg.norm(truth[:3, 3] - believed[:3, 3]) > 0.1
    np.testing.assert_array_equal(cell.T_world_camera, truth)
    cloud = cell.cloud(VIEW_SPEC)
    assert np.linalg.norm(cloud, axis=1).max() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(cloud.mean(0), 0, atol=1e-4)


def test_a_view_keeps_shapes_and_loses_place() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    pose = np.eye(4)
    pose[:3, 3] = (1.0, 2.0, 3.0)
    np.testing.assert_allclose(in_view(points, pose), in_view(points * 2 + 5, np.eye(4)), atol=1e-5)


def test_an_action_survives_the_way_to_the_environment() -> None:
    values = np.array([0.4, -1.0, 0.25, -0.5])
    np.testing.assert_allclose(environment_action(action_of(values)), values, atol=1e-6)


def test_a_checkpoint_of_another_world_or_task_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "cell", tiny_checkpoint())
    with pytest.raises(ValueError, match="not of MetaWorld"):
        Rollouts(task="reach", source=str(tmp_path / "cell"), sentences=("go",)).check()
    with pytest.raises(ValueError, match="did you mean metaworld_reach"):
        MetaWorldEvaluationConfig(checkpoint="expert", tasks=("reach",))
    with pytest.raises(ValueError, match="has none"):
        unseen_sentences_of("hammer")


def test_the_tasks_and_sentences_are_those_of_the_paper() -> None:
    assert [len(tasks) for tasks in DIFFICULTIES.values()] == [5, 5, 5]
    assert sum(len(sentences_of(task)) for task in MULTI_TASK) == 18
    assert not any(set(sentences_of(task)) & set(unseen_sentences_of(task)) for task in MULTI_TASK)


def test_the_command_evaluates_in_processes_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    config = MetaWorldEvaluationConfig(
        checkpoint="expert", tasks=("metaworld_reach",), trials=2, selection_trials=0, workers=1
    )
    first = run_evaluation(config, output)
    assert [t.seed for t in first.trials["fresh/policy", "metaworld_reach"]] == [FRESH_SEEDS, FRESH_SEEDS + 1]
    written = (output / "trials.jsonl").read_bytes()
    arguments = ["expert", "--tasks", "reach", "--trials", "2", "--workers", "1", "--output", str(output)]
    assert command.main(arguments) == 0
    assert (output / "trials.jsonl").read_bytes() == written, "nothing was run again"
    assert "100.0 % (2 of 2" in capsys.readouterr().out
    assert "in MetaWorld" in (output / "report.html").read_text()
    assert json.loads((output / "results.json").read_text())["tasks"] == ["metaworld_reach"]
    assert command.main(["expert", "--tasks", "fly", "--workers", "1", "--output", str(tmp_path / "x")]) == 1
    assert "MetaWorld has no 'fly'" in capsys.readouterr().err
