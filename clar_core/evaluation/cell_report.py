"""The report of an evaluation in the gymnasium front of the simulated cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clar_core.evaluation import charts
from clar_core.evaluation.report import Report, Tile
from clar_core.evaluation.statistics import Percentiles, Proportion
from clar_core.evaluation.trials import Trial


def write_report(path: Path, task: str, checkpoint: str, trials: Sequence[Trial]) -> None:
    """Write one self-contained HTML page on the trials of one checkpoint."""
    outcome = Proportion(sum(t.success for t in trials), len(trials))
    low, high = outcome.interval()
    durations = Percentiles.of(t.duration_s for t in trials if t.success)
    decisions = Percentiles.of(t.decision_ms for t in trials)
    report = Report(
        f"{task}: {outcome.successes} of {outcome.trials}",
        f"{checkpoint}, evaluated in the gymnasium front of the simulated cell over starts that training never saw.",
    )
    report.tiles(
        [
            Tile(
                "Success", f"{100 * outcome.rate:.1f} %", f"95 % interval {100 * low:.1f}-{100 * high:.1f} % (Wilson)"
            ),
            Tile("Time to success", f"{durations.p50:.1f} s", f"p99 {durations.p99:.1f} s, simulated"),
            Tile("Decision", f"{decisions.p50:.1f} ms", "median over trials, on this machine"),
        ]
    )
    if durations.count:
        report.heading("Time to success")
        marks = {"p50": durations.p50, "p99": durations.p99}
        report.chart(charts.histogram([t.duration_s for t in trials if t.success], unit="s", marks=marks))
    failures = [t for t in trials if not t.success]
    report.heading("Failures", "" if failures else "None.")
    if failures:
        rows = [[str(t.seed), t.reason, f"{t.duration_s:.1f} s"] for t in failures]
        report.table(["seed", "reason", "after"], rows, ["bad"] * len(rows))
    report.heading("Again")
    report.command(
        f"clar eval cell {checkpoint} --task {task} --trials {len(trials)} --first-seed {min(t.seed for t in trials)}"
    )
    report.write(path)
