"""An evaluation of a run: which checkpoint is chosen, what is resumed, and what the report says."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clar_core.cli import evaluate as command
from clar_core.evaluation import cell
from clar_core.evaluation.cell import EvaluationConfig, run_evaluation
from clar_core.evaluation.cell_report import write_results
from clar_core.evaluation.contenders import candidates, controls_of
from clar_core.evaluation.trials import FRESH_SEEDS, SELECTION_SEEDS, Trial
from clar_core.simulation.tasks import UnknownTaskError
from clar_core.training.checkpoints import save_checkpoint
from clar_core.workers import WorkerDiedError
from tests.core.training.policies import tiny_checkpoint

TASK = "pick_banana"


class Trials:
    """Stands in for the simulated cell: a policy succeeds at a share of the seeds that depends on its name."""

    shares = {"best": 4, "last": 8, "blind": 0, "other": 2}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[int]]] = []
        self.dies_after: int | None = None

    def __call__(self, task: str, actor: str, seeds: Sequence[int], **options: Any) -> Iterator[Trial]:
        name = Path(actor).name if Path(actor).parent.name != "blind" else "blind"
        self.asked.append((name, task, list(seeds)))
        for number, seed in enumerate(seeds):
            if self.dies_after is not None and number == self.dies_after:
                raise WorkerDiedError("a worker process died")
            good = seed % 10 < self.shares[name]
            start = (0.4 + 0.02 * (seed % 10), 0.1 - 0.03 * (seed % 7))
            states = np.zeros((4, 12), np.float32) if options["keep_states"] and not good else None
            reason = "success" if good else "time limit"
            yield Trial(seed, good, 40, 4.0, 1.0, reason, 2.0, start, options["instructions"][0], states)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Trials:
    stand_in = Trials()
    monkeypatch.setattr(cell, "evaluate", stand_in)
    return stand_in


def made(directory: Path, names: Sequence[str], seed: int = 0) -> Path:
    checkpoint = tiny_checkpoint(seed=seed)
    checkpoint.provenance["tasks"] = [TASK]
    for name in names:
        save_checkpoint(directory / name, checkpoint)
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made(tmp_path / "run/controls/blind", ["best", "last"])
    return made(tmp_path / "run", ["best", "last"])


def test_the_checkpoint_is_chosen_on_seeds_of_its_own(trials: Trials, run: Path, tmp_path: Path) -> None:
    evaluation = run_evaluation(EvaluationConfig(checkpoint=str(run), trials=20, selection_trials=10), tmp_path / "o")
    assert [(name, seeds[0], len(seeds)) for name, _, seeds in trials.asked] == [
        ("best", SELECTION_SEEDS, 10),
        ("last", SELECTION_SEEDS, 10),
        ("last", FRESH_SEEDS, 20),
        ("blind", FRESH_SEEDS, 20),
    ]
    assert evaluation.chosen == {"policy": str(run / "last")}
    policy = evaluation.having("fresh")[0]
    assert (evaluation.outcome(policy).successes, evaluation.mean_rate(policy)) == (16, 0.8)


def test_what_was_finished_is_not_run_again(trials: Trials, run: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(checkpoint=str(run), trials=20, selection_trials=0, controls=False)
    trials.dies_after = 7
    with pytest.raises(WorkerDiedError):
        run_evaluation(config, tmp_path / "o")
    trials.dies_after = None
    run_evaluation(config, tmp_path / "o")
    assert trials.asked[-1] == ("best", TASK, list(range(FRESH_SEEDS + 7, FRESH_SEEDS + 20)))
    run_evaluation(config, tmp_path / "o")
    assert len(trials.asked) == 2


def test_controls_a_comparison_and_more_trials_are_added_to_what_is_there(
    trials: Trials, run: Path, tmp_path: Path
) -> None:
    other = made(tmp_path, ["other"]) / "other"
    config = EvaluationConfig(checkpoint=str(run), trials=5, selection_trials=10, controls=False)
    run_evaluation(config, tmp_path / "o")
    trials.asked.clear()
    evaluation = run_evaluation(replace(config, trials=8, controls=True, compare=str(other)), tmp_path / "o")
    assert [(name, seeds[0] - FRESH_SEEDS, len(seeds)) for name, _, seeds in trials.asked] == [
        ("last", 5, 3),
        ("other", 0, 8),
        ("blind", 0, 8),
    ]
    assert evaluation.outcome(evaluation.having("fresh")[0]).trials == 8


def test_another_checkpoint_to_choose_from_and_another_front_are_other_evaluations(
    trials: Trials, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(checkpoint=str(run), trials=5, selection_trials=10, controls=False)
    run_evaluation(config, tmp_path / "o")
    with monkeypatch.context() as later:
        later.setattr(EvaluationConfig, "front_version", 3)
        with pytest.raises(ValueError, match="another evaluation: front_version was 2 and is 3 now"):
            run_evaluation(config, tmp_path / "o")
    made(run, ["kept/00001000"])
    with pytest.raises(ValueError, match="another evaluation: candidates"):
        run_evaluation(config, tmp_path / "o")


def test_other_weights_under_the_same_path_are_another_evaluation(trials: Trials, run: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(checkpoint=str(run / "best"), trials=2, controls=False)
    run_evaluation(config, tmp_path / "o")
    made(run, ["best"], seed=1)
    with pytest.raises(ValueError, match="another evaluation: weights"):
        run_evaluation(config, tmp_path / "o")
    run_evaluation(config, tmp_path / "o", restart=True)


def test_the_same_evaluation_finds_its_folder_again(
    trials: Trials, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [
        run_evaluation(EvaluationConfig(checkpoint=str(run), trials=n, workers=w)).journal.directory
        for n, w in ((3, 1), (3, 2), (4, 1))
    ]
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].name.startswith("pick_banana-")


def test_a_run_offers_its_checkpoints_and_controls(run: Path) -> None:
    made(run, ["kept/00001000"])
    assert list(candidates(str(run))) == ["best", "last", "kept/00001000"]
    assert list(candidates(str(run / "best"))) == [""]
    assert controls_of(str(run)) == controls_of(str(run / "best")) == {"blind": str(run / "controls/blind/last")}
    assert controls_of("expert") == {}


def test_the_report_says_what_was_compared_and_what_is_missing(trials: Trials, run: Path, tmp_path: Path) -> None:
    other = made(tmp_path, ["other"]) / "other"
    config = EvaluationConfig(checkpoint=str(run), compare=str(other), trials=20, selection_trials=10)
    evaluation = run_evaluation(config, tmp_path / "o")
    paths = write_results(evaluation, "clar eval cell again")
    page = paths[2].read_text()
    for text in ("16 of 20", "80.0 % (16/20, 58-92 %)", "is better than", "clar eval cell again", "near left", "blind"):
        assert text in page
    assert "frozen_random, oracle_state" in page, "controls that are not there are named"
    assert "<script" not in page
    results = json.loads(paths[0].read_text())
    assert results["comparison"]["over_all"] == results["comparison"]["tasks"][TASK]
    assert results["comparison"]["over_all"]["only_first"] == 12
    assert results["missing_controls"] == ["frozen_random", "oracle_state"]
    rows = list(csv.DictReader(paths[1].read_text().splitlines()))
    assert len(rows) == 10 + 10 + 20 + 20 + 20
    assert {row["contender"] for row in rows} == {"policy: best", "policy: last", "policy", "compared", "blind"}


def test_settings_that_make_no_evaluation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--trials: expected at least 1"):
        EvaluationConfig(checkpoint="expert", trials=0)
    with pytest.raises(ValueError, match="on which checkpoints are chosen"):
        EvaluationConfig(checkpoint="expert", first_seed=SELECTION_SEEDS)
    with pytest.raises(UnknownTaskError, match="did you mean pick_banana"):
        EvaluationConfig(checkpoint="expert", tasks=("pick_bananas",))
    with pytest.raises(ValueError, match="say which with --task"):
        run_evaluation(EvaluationConfig(checkpoint="expert"), tmp_path)


def test_the_command_evaluates_shows_failures_and_tells_where(
    trials: Trials, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clar_core.evaluation.gallery.draw", lambda task, takes, workers: iter(()))
    monkeypatch.setattr("clar_core.evaluation.gallery.contact_sheet", lambda takes, frames, columns: b"jpeg")
    output = tmp_path / "out"
    arguments = [str(run), "--trials", "10", "--selection-trials", "0", "--output", str(output)]
    assert command.main(arguments) == 0
    text = capsys.readouterr().out
    assert "40.0 % (4 of 10" in text
    assert "report.html" in text
    assert "data:image/jpeg" in (output / "report.html").read_text()
    trials.dies_after = 0
    shutil.rmtree(output)
    assert command.main(arguments) == 1
    assert "The same command goes on" in capsys.readouterr().err
