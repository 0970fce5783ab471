"""The report of an evaluation in the gymnasium front: one page for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clar_core.evaluation import charts
from clar_core.evaluation.cell import Evaluation
from clar_core.evaluation.contenders import CONTROLS, Contender, run_of
from clar_core.evaluation.report import Report, Tile
from clar_core.evaluation.statistics import Percentiles, Proportion
from clar_core.evaluation.strata import by_region, middle_of
from clar_core.evaluation.trials import SELECTION_SEEDS, summarize

_COLUMNS = (
    "contender", "role", "task", "seed", "success", "steps", "duration_s", "reason",
    "start_x_m", "start_y_m", "instruction", "decision_ms",
)  # fmt: skip


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but the single trials, as plain values for JSON."""
    compared = _pair(evaluation)
    return {
        "tasks": list(evaluation.tasks),
        "evaluation": json.loads((evaluation.journal.directory / "identity.json").read_bytes()),
        "chosen": evaluation.chosen,
        "missing_controls": _missing_controls(evaluation),
        "results": [
            {
                "contender": c.name,
                "role": c.role,
                "source": c.source,
                "mean_of_tasks": None if np.isnan(mean := evaluation.mean_rate(c)) else mean,
                "tasks": {task: summarize(evaluation.of(c, task)) for task in evaluation.tasks},
                "regions": {
                    task: {region: [p.successes, p.trials] for region, p in _regions(evaluation, c, task).items()}
                    for task in evaluation.tasks
                },
            }
            for c in evaluation.contenders
        ],
        "comparison": None
        if compared is None
        else {
            "over_all": evaluation.comparison(*compared).to_dict(),
            "tasks": {task: evaluation.comparison(*compared, task).to_dict() for task in evaluation.tasks},
        },
    }


def to_csv(evaluation: Evaluation) -> str:
    """One line a trial, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for c in evaluation.contenders:
        for task in evaluation.tasks:
            for t in evaluation.of(c, task):
                start = [round(v, 4) for v in t.start_m]
                outcome = (t.seed, int(t.success), t.steps, t.duration_s, t.reason)
                writer.writerow([c.name, c.role, task, *outcome, *start, t.instruction, t.decision_ms])
    return text.getvalue()


def write_results(
    evaluation: Evaluation, command: str, pictures: Sequence[tuple[Contender, str, bytes]] = ()
) -> list[Path]:
    """Write ``results.json``, ``trials.csv`` and ``report.html`` beside the trials; returns their paths.

    Args:
        command: that makes the evaluation again.
        pictures: (contender, task, JPEG) of failures.
    """
    directory = evaluation.journal.directory
    paths = [directory / name for name in ("results.json", "trials.csv", "report.html")]
    _replace(paths[0], json.dumps(to_dict(evaluation), indent=2) + "\n")
    _replace(paths[1], to_csv(evaluation))
    _page(evaluation, command, pictures).write(paths[2])
    return paths


def _page(evaluation: Evaluation, command: str, pictures: Sequence[tuple[Contender, str, bytes]]) -> Report:
    config = evaluation.config
    policy = evaluation.having("fresh")[0]
    outcome = evaluation.outcome(policy)
    what = evaluation.tasks[0] if len(evaluation.tasks) == 1 else f"{len(evaluation.tasks)} tasks"
    page = Report(
        f"{what}: {outcome.successes} of {outcome.trials}",
        f"{policy.source}, {evaluation.front}, from starts that training and the choice of the checkpoint never saw.",
    )
    page.tiles(_tiles(evaluation, policy, outcome))
    if config.camera_move is not None:
        move = config.camera_move
        told = "recalibrated" if move.recalibrated else "NOT recalibrated, as a policy in the image's frame would be"
        page.heading("The camera was moved", _camera_words(move.distance_m, move.angle_rad, told))
    page.heading("Success", "95 % Wilson intervals. " + _sentence_words(evaluation))
    mean = ["mean"] if len(evaluation.tasks) > 1 else []
    page.table(["", *evaluation.tasks, *mean], *_success_rows(evaluation))
    _controls(page, evaluation)
    _comparison(page, evaluation)
    _selection(page, evaluation)
    _strata(page, evaluation, policy)
    _durations(page, evaluation, policy)
    _failures(page, evaluation, pictures)
    page.heading("Again", "The same command goes on where it was cut off, and changes nothing once it is complete.")
    page.command(command)
    return page


def _tiles(evaluation: Evaluation, policy: Contender, outcome: Proportion) -> list[Tile]:
    trials = evaluation.of(policy)
    durations = Percentiles.of(t.duration_s for t in trials if t.success)
    decisions = Percentiles.of(t.decision_ms for t in trials)
    tiles = [Tile("Success", _percent(outcome.rate), f"95 % interval {_range(outcome)} (Wilson)")]
    if len(evaluation.tasks) > 1:
        worst = min(evaluation.tasks, key=lambda task: evaluation.outcome(policy, task).rate)
        tiles.append(Tile("Mean of the tasks", _percent(evaluation.mean_rate(policy)), f"lowest: {worst}"))
    if durations.count:
        tiles.append(Tile("Time to success", f"{durations.p50:.1f} s", f"p99 {durations.p99:.1f} s, simulated"))
    if decisions.count and decisions.maximum > 0:
        tiles.append(Tile("Decision", f"{decisions.p50:.1f} ms", "median over trials, on this machine"))
    return tiles


def _success_rows(evaluation: Evaluation) -> tuple[list[list[str]], list[Any]]:
    rows, tones = [], []
    for c in (*evaluation.having("fresh"), *evaluation.having("control")):
        cells = [_cell(evaluation.outcome(c, task)) for task in evaluation.tasks]
        mean = [_percent(evaluation.mean_rate(c))] if len(cells) > 1 else []
        rows.append([c.name, *cells, *mean])
        tones.append("good" if c.role == "fresh" else "plain")
    return rows, tones


def _controls(page: Report, evaluation: Evaluation) -> None:
    page.heading("Controls")
    page.table(["control", "what it tells"], [[name, text] for name, text in CONTROLS.items()])
    if missing := _missing_controls(evaluation):
        page.heading("Not measured", f"{', '.join(missing)}: without them success cannot be credited to seeing.")
        if (run := run_of(evaluation.config.checkpoint)) is not None:
            page.command(f"clar train controls {run}    # then evaluate again")


def _comparison(page: Report, evaluation: Evaluation) -> None:
    compared = _pair(evaluation)
    if compared is None:
        return
    first, second = compared
    over_all = evaluation.comparison(first, second)
    verdict = over_all.verdict(f"policy ({first.source})", f"compared ({second.source})")
    page.heading(
        "Comparison",
        f"{verdict} Same starts for both; p from the exact test of McNemar, the interval is Newcombe's for pairs.",
    )
    rows = []
    for task in (*evaluation.tasks, None) if len(evaluation.tasks) > 1 else evaluation.tasks:
        c = evaluation.comparison(first, second, task)
        low, high = c.interval()
        counts = [str(n) for n in (c.both, c.only_first, c.only_second, c.neither)]
        difference = f"{100 * c.difference:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
        rows.append([task or "all", *counts, difference, f"{c.p_value:.3g}"])
    page.table(["task", "both", "only policy", "only compared", "neither", "difference", "p"], rows)


def _selection(page: Report, evaluation: Evaluation) -> None:
    under_selection = evaluation.having("selection")
    if not under_selection:
        return
    page.heading(
        "Choice of the checkpoint",
        f"By successes on seeds of their own, from {SELECTION_SEEDS} on. The best of several flatters, so the chosen "
        "one was tried again on fresh seeds: that is the figure at the top.",
    )
    chosen = set(evaluation.chosen.values())
    rows = [[c.name, _cell(evaluation.outcome(c)), "chosen" if c.source in chosen else ""] for c in under_selection]
    for c in evaluation.having("fresh"):
        rows.append([f"{c.name}, on fresh seeds", _cell(evaluation.outcome(c)), "reported"])
    page.table(["checkpoint", "success", ""], rows, ["good" if row[2] else "plain" for row in rows])


def _strata(page: Report, evaluation: Evaluation, policy: Contender) -> None:
    if len({t.start_m for t in evaluation.of(policy)}) < 2:
        return  # on the robot nobody knows where the objects stood
    page.heading(
        "By start",
        "Where the object that is handled first stood, as the robot sees it; split at the medians of the starts.",
    )
    rows = []
    for task in evaluation.tasks:
        regions = _regions(evaluation, policy, task)
        rows.append([task, *(_cell(p) for p in regions.values())])
    page.table(["task", *regions], rows)


def _durations(page: Report, evaluation: Evaluation, policy: Contender) -> None:
    sample = [t.duration_s for t in evaluation.of(policy) if t.success]
    durations = Percentiles.of(sample)
    if durations.count:
        page.heading("Time to success")
        page.chart(charts.histogram(sample, unit="s", marks={"p50": durations.p50, "p99": durations.p99}))


def _failures(page: Report, evaluation: Evaluation, pictures: Sequence[tuple[Contender, str, bytes]]) -> None:
    failed = [
        (c, task, t)
        for c in evaluation.having("fresh")
        for task in evaluation.tasks
        for t in evaluation.of(c, task)
        if not t.success
    ]
    page.heading("Failures", "" if failed else "None.")
    for c, task, picture in pictures:
        page.image(picture, f"{c.name}, {task}: from the start (left) to the end (right)")
    if failed:
        rows = [
            [c.name, task, str(t.seed), t.reason, f"{t.duration_s:.1f} s", f"({t.start_m[0]:.2f}, {t.start_m[1]:.2f})"]
            for c, task, t in failed
        ]
        page.table(["contender", "task", "seed", "reason", "after", "start [m]"], rows, ["bad"] * len(rows))


def _regions(evaluation: Evaluation, contender: Contender, task: str) -> dict[str, Proportion]:
    """Split at the same place for everybody."""
    everybody = [t for c in evaluation.having("fresh") for t in evaluation.of(c, task)]
    return by_region(evaluation.of(contender, task), middle_of(everybody))


def _pair(evaluation: Evaluation) -> tuple[Contender, Contender] | None:
    fresh = evaluation.having("fresh")
    return (fresh[0], fresh[1]) if len(fresh) == 2 else None


def _missing_controls(evaluation: Evaluation) -> list[str]:
    there = {c.name for c in evaluation.having("control")}
    return [name for name in CONTROLS if name not in there]


def _sentence_words(evaluation: Evaluation) -> str:
    return {
        "first": "Policies with language were given the first sentence of the task.",
        "seen": "Policies with language were given the task's sentences in turn.",
        "unseen": "Policies with language were given sentences that training never saw.",
    }[evaluation.config.sentences]


def _camera_words(distance_m: float, angle_rad: float, told: str) -> str:
    return (
        f"By {100 * distance_m:.0f} cm and {np.degrees(angle_rad):.0f} degrees against training, in a direction drawn "
        f"for each start, and {told}."
    )


def _cell(outcome: Proportion) -> str:
    if not outcome.trials:
        return "-"
    return f"{_percent(outcome.rate)} ({outcome.successes}/{outcome.trials}, {_range(outcome)})"


def _percent(rate: float) -> str:
    return "-" if np.isnan(rate) else f"{100 * rate:.1f} %"


def _range(outcome: Proportion) -> str:
    low, high = outcome.interval()
    return f"{100 * low:.0f}-{100 * high:.0f} %"


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
