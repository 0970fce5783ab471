"""The paper's tables: what is planned, what is missing, and what the page says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clar_core.cli import reproduce as command
from clar_core.data.metaworld import MetaWorldConfig
from clar_core.models.registry import PRESETS
from clar_core.reproduction import run
from clar_core.reproduction.imported import read_imported
from clar_core.reproduction.page import read_results, text_of, write_page
from clar_core.reproduction.run import ReproduceConfig, hours, jobs_of, missing_of
from clar_core.reproduction.tables import TABLES
from clar_core.training import finished
from clar_core.training.config import ImitationConfig
from clar_core.training.loop import TrainingError


def result(row: str, task: str, **other: Any) -> dict[str, Any]:
    values = {"camera": "corner", "samples": 30_000, "seed": 0, "successes": 20, "trials": 25, "command": "clar again"}
    return {"row": row, "task": task, **values, **other}


def test_every_row_runs_or_says_what_it_lacks() -> None:
    for table in TABLES.values():
        for row in table.rows:
            assert row.runs_with(()) != bool(row.lacks), row.name
            assert not row.encoder or row.encoder in PRESETS
            assert bool(row.encoder and row.lacks) == ("--weights" in row.lacks), row.name
            assert not row.sees_images or row.training == "frozen"
        choices = [(row.choice, row.frame) for row in table.rows if row.encoder and table.kind != "elsewhere"]
        assert len(set(choices)) == len(choices), table.title
        assert table.kind != "elsewhere" or table.instead


def test_jobs_follow_the_kind_of_the_table() -> None:
    assert len(jobs_of(ReproduceConfig(table="table1", rows=("pointnet",)))) == 15
    (together,) = jobs_of(ReproduceConfig(table="table3", rows=("pointnet",)))
    assert together.tasks == TABLES["table3"].tasks
    world, view = jobs_of(ReproduceConfig(table="table4", rows=("pointnet",), tasks=("reach",)))
    assert (world.cameras, world.row.frame, view.row.frame) == (("corner", "corner2"), "world", "view")
    assert len({job.name for job in jobs_of(ReproduceConfig(table="table4"))}) == len(
        jobs_of(ReproduceConfig(table="table4"))
    )
    assert jobs_of(ReproduceConfig(table="table2")) == []
    assert any("CoppeliaSim" in line for line in missing_of(TABLES["table2"]))


def test_rows_of_published_encoders_run_once_they_are_given_their_weights(tmp_path: Path) -> None:
    file = tmp_path / "clip.safetensors"
    assert not [job for job in jobs_of(ReproduceConfig(table="table1")) if job.row.sees_images]
    given = ReproduceConfig(table="table1", weights={"clip": file}, rows=("clip",), tasks=("reach",))
    (job,) = jobs_of(given)
    assert job.row.name == "CLIP"
    lines = missing_of(TABLES["table1"], given.weights)
    assert not [line for line in lines if line.startswith("CLIP:")]
    assert any("R3M: lacks weights, which --weights r3m=FILE gives: " in line for line in lines)
    slow, fast = ({"clip": rate} for rate in (1.0, 10.0))
    assert hours(given, slow, full=False) > hours(given, fast, full=False) > 0
    with pytest.raises(ValueError, match=r"--rows: clip lacks weights, .*huggingface.co/timm/vit_base"):
        ReproduceConfig(table="table1", rows=("clip",))
    with pytest.raises(
        ValueError,
        match=r"no row that takes those of 'pointnet'; expected of clar_cpu_pretrained, clar_pretrained, clip, r3m",
    ):
        ReproduceConfig(table="table1", weights={"pointnet": file})


def test_rows_of_a_pre_trained_encoder_run_once_they_are_given_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation = TABLES["table5"]
    lines = missing_of(ablation)
    assert any("192 x 6: lacks a checkpoint" in line and "--loss.no-mae" in line for line in lines)
    weights = {"clar_cpu_pretrained": tmp_path / "best"}
    config = ReproduceConfig(
        table="table5", weights=weights, rows=("clar_cpu", "clar_cpu_pretrained"), tasks=("hammer",), seeds=(0, 1)
    )
    jobs = jobs_of(config)
    assert [(job.row.choice, job.seed) for job in jobs] == [
        ("clar_cpu_pretrained", 0), ("clar_cpu", 0), ("clar_cpu_pretrained", 1), ("clar_cpu", 1)
    ]  # fmt: skip
    trained: list[ImitationConfig] = []
    monkeypatch.setattr(run, "train_imitation", trained.append)
    monkeypatch.setattr(run, "collect", lambda config: [])
    monkeypatch.setattr(run, "_evaluated", lambda job, *_: [result(job.row.name, "hammer", seed=job.seed)])
    path = run.reproduce(replace(config, output=tmp_path), "clar again", lambda _: None)
    assert [t.init_from for t in trained] == [weights["clar_cpu_pretrained"], None] * 2
    assert [t.seed for t in trained] == [0, 0, 1, 1]
    assert len({t.output for t in trained}) == 4
    run.reproduce(
        ReproduceConfig(table="basics", rows=("clar_cpu",), tasks=("reach",), output=tmp_path), "clar", lambda _: None
    )
    run.reproduce(
        ReproduceConfig(table="table1", rows=("clar_cpu",), tasks=("reach",), output=tmp_path), "clar", lambda _: None
    )
    assert len({t.output for t in trained}) == 6, "what is shifted in one table is not taken for another"
    assert len(json.loads(path.read_bytes())["results"]) == 4
    with pytest.raises(ValueError, match=r"--seeds: expected different numbers"):
        replace(config, seeds=(1, 1))


def test_the_cost_grows_with_budget_and_rollouts() -> None:
    rates = dict.fromkeys(PRESETS, 100.0)
    small, large = (ReproduceConfig(table="table1", budget=b, rows=("pointnet",)) for b in (0.1, 0.2))
    assert hours(small, rates, full=False) < hours(large, rates, full=False) < hours(large, rates, full=True)


def test_wrong_options_are_answered_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="did you mean table1"):
        ReproduceConfig(table="tabel1")
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        ReproduceConfig(table="table1", budget=0)
    with pytest.raises(ValueError, match="it has pointnet"):
        ReproduceConfig(table="table1", rows=("pointnett",))
    with pytest.raises(ValueError, match="it has reach"):
        ReproduceConfig(table="table1", tasks=("reech",))


def test_a_run_that_was_cut_off_goes_on_without_repeating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Path] = []

    def collect(config: MetaWorldConfig) -> list[None]:
        return []

    def train(config: ImitationConfig) -> None:
        if len(trained) == 1 and not (tmp_path / "again").exists():
            raise OSError("No space left on device")
        trained.append(config.output)
        config.output.mkdir(parents=True)
        (config.output / "README.md").write_text("done")

    def evaluated(job: run.Job, config: ReproduceConfig, at: Path, command: str) -> list[dict[str, Any]]:
        return [result(job.row.name, task) for task in job.tasks]

    for name, stand_in in (("collect", collect), ("train_imitation", train), ("_evaluated", evaluated)):
        monkeypatch.setattr(run, name, stand_in)
    monkeypatch.setattr(run, "is_finished", lambda training: (training.output / "README.md").exists())
    config = ReproduceConfig(table="table1", rows=("pointnet",), tasks=("reach", "hammer"), output=tmp_path)
    with pytest.raises(OSError, match="No space"):
        run.reproduce(config, "clar again", lambda _: None)
    first = json.loads((tmp_path / "table1.json").read_bytes())["results"]
    assert [r["task"] for r in first] == ["reach"], "what was finished is kept"
    (tmp_path / "again").touch()
    path = run.reproduce(config, "clar again", lambda _: None)
    assert [r["task"] for r in json.loads(path.read_bytes())["results"]] == ["reach", "hammer"]
    assert len(trained) == 2


def test_a_row_of_images_is_trained_on_a_store_of_images_with_a_fixed_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[MetaWorldConfig] = []
    trained: list[ImitationConfig] = []

    def collect(config: MetaWorldConfig) -> list[None]:
        collected.append(config)
        return []

    for name, stand_in in (("collect", collect), ("train_imitation", trained.append)):
        monkeypatch.setattr(run, name, stand_in)
    monkeypatch.setattr(run, "_evaluated", lambda job, *_: [result(job.row.name, task) for task in job.tasks])
    weights = {"clip": tmp_path / "clip.safetensors"}
    for rows in (("clip",), ("pointnet",)):
        config = ReproduceConfig(table="table1", rows=rows, tasks=("reach",), weights=weights, output=tmp_path)
        run.reproduce(config, "clar again", lambda _: None)
    assert [(c.image_size, c.directory.name) for c in collected] == [(224, "reach-world-images"), (0, "reach-world")]
    assert [(c.init_from, c.encoder_training) for c in trained] == [(weights["clip"], "frozen"), (None, "scratch")]


def test_nothing_is_moved_as_in_the_paper_but_in_the_table_that_says_so() -> None:
    for name, table in TABLES.items():
        assert table.augmentation.moves == (name == "basics"), name
        assert ("are shifted" in table.differences) == (name == "basics"), name


def test_weights_are_given_as_encoder_and_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["table1", "--weights", "clip"]) == 1
    assert "expected ENCODER=FILE" in capsys.readouterr().err
    assert command.main(["table1", "--weights", f"clip={tmp_path / 'none.pt'}"]) == 1
    assert "there is no file" in capsys.readouterr().err
    assert command.main(["table5", "--weights", f"clar_cpu_pretrained={tmp_path}"]) == 1
    assert "holds no checkpoint of `clar pretrain`" in capsys.readouterr().err


def test_a_policy_of_another_checkpoint_is_not_taken_for_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReproduceConfig(
        table="basics", weights={"clar_cpu_pretrained": tmp_path / "first"}, rows=("clar_cpu_pretrained",),
        tasks=("reach",), output=tmp_path,
    )  # fmt: skip
    trained: list[ImitationConfig] = []
    for name, stand_in in (("collect", lambda config: []), ("train_imitation", trained.append)):
        monkeypatch.setattr(run, name, stand_in)
    monkeypatch.setattr(run, "_evaluated", lambda job, *_: [result(job.row.name, "reach")])
    run.reproduce(config, "clar again", lambda _: None)
    (training,) = trained
    training.output.mkdir(parents=True)
    (training.output / "README.md").write_text("done")
    made = SimpleNamespace(provenance={"training": training.to_dict()})
    monkeypatch.setattr(finished, "load_checkpoint", lambda directory: made)
    run.reproduce(config, "clar again", lambda _: None)
    assert len(trained) == 1
    with pytest.raises(TrainingError, match=r"finished with init_from .*first.* and .*second.* is asked for"):
        run.reproduce(
            replace(config, weights={"clar_cpu_pretrained": tmp_path / "second"}), "clar again", lambda _: None
        )


def test_the_page_says_which_rows_have_not_been_run(tmp_path: Path) -> None:
    results = {"table": "table1", "results": [result("PointNet", "reach")]}
    (tmp_path / "table1.json").write_text(json.dumps(results))
    page = write_page(tmp_path, tmp_path / "page.md").read_text()
    assert "80.0 % (20 of 25, 95 % interval" in page
    assert "Not run yet, though they can be: PointNet++" in page
    assert "Tasks not run yet, of PointNet: lever-pull" in page
    assert "| RVT-2(M) | 88 | 100 | 12 | 100 | 75 | not run (2) |" in page
    assert "clar eval rlbench RVT/rvt/runs/rvt2/model_99.pth --policy rvt2" in page
    assert "\n1. Lacks RLBench and CoppeliaSim" in page
    assert page.count("**None of our rows has been run.**") == 4
    assert text_of({}).count("**None of our rows has been run.**") == 5


def test_seeds_of_one_policy_share_a_line_with_their_mean(tmp_path: Path) -> None:
    of_seeds = [result("PointNet", "reach", seed=seed, successes=n) for seed, n in ((1, 20), (0, 25), (2, 21))]
    (tmp_path / "basics.json").write_text(json.dumps({"table": "basics", "results": of_seeds}))
    page = write_page(tmp_path, tmp_path / "page.md").read_text()
    assert "| 0, 1, 2 | mean 88.0 % (25 of 25, 20 of 25, 21 of 25) |" in page


def test_what_others_report_is_shown_with_its_source_and_a_figure_without_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "imported").mkdir()
    reported = {"setting": "two cameras", "benchmark": "RLBench", "success_percent": {"close_box": 96}}
    document = {
        "method": "Other",
        "citation": "Somebody 2024",
        "results": [reported | {"mean_percent": 96, "source": "x"}],
    }
    (tmp_path / "imported/other.json").write_text(json.dumps(document))
    page = write_page(tmp_path / "tables", tmp_path / "page.md").read_text()
    assert "## As others report it: Other" in page
    assert "| two cameras | RLBench | close_box 96 | 96 | x |" in page
    document["results"] = [reported | {"mean_percent": 96}]
    (tmp_path / "imported/other.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"other.json: expected results of others with .*source"):
        write_page(tmp_path / "tables", tmp_path / "page.md")


def test_the_imported_results_are_those_of_the_table() -> None:
    imported = next(one for one in read_imported(Path("docs/results/imported")) if one.method == "RVT-2")
    rows = {row.name: row.paper for row in TABLES["table2"].rows}
    for result, name in zip(imported.results, ("RVT-2", "RVT-2(M)"), strict=False):
        assert {**result.success_percent, "mean": result.mean_percent} == rows[name]
        assert sum(result.success_percent.values()) / 4 == pytest.approx(result.mean_percent)


def test_a_file_that_holds_no_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "table1.json").write_text(json.dumps({"table": "table1", "results": [result("Pointnet", "reach")]}))
    with pytest.raises(ValueError, match=r"table1.json: .*has no row 'Pointnet'"):
        read_results(tmp_path)


def test_the_command_says_what_is_missing_and_what_there_is_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["table2"]) == 0
    text = capsys.readouterr().out
    assert "not run: RVT-2: lacks RLBench" in text
    assert "clar data import" in text
    assert "with that: clar eval rlbench outputs/training/close_box_pointnet" in text
    assert command.main(["tabel2"]) == 1
    assert "did you mean table2" in capsys.readouterr().err
