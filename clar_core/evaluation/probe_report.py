"""The probe's report: one table, one figure, one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clar_core.evaluation.probe import READOUTS, TARGETS, UNITS, Score, paired_difference

_GROUPS = {"seen": "seen classes", "held_out": "held-out classes"}
_TITLES = {"position": "object position", "class": "object class", "gripper": "gripper opening"}


def probe_table(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """A Markdown table: a row per encoder, a column per target, read-out and group; intervals of 95 %.

    The first encoder is the reference. A figure in bold differs from it for the better, one in italics for the worse,
    by a paired interval over scenes that leaves out zero.
    """
    columns = [f"{t}/{r}/{g}" for t in TARGETS for r in READOUTS for g in _GROUPS]
    reference = next(iter(scores.values()))
    columns = [c for c in columns if c in reference]
    titles = []
    for column in columns:
        target, readout, group = column.split("/")
        unit = next(unit for name, unit in UNITS.items() if name == target)
        titles.append(f"{_TITLES[target]}, {readout}, {_GROUPS[group]} [{unit}]")
    lines = ["| encoder | " + " | ".join(titles) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in scores.items():
        cells = [_cell(column, row[column], reference[column], row is reference) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(column: str, score: Score, reference: Score) -> str:
    """``better``, ``worse`` or ``equal``: the paired difference's interval against zero."""
    _, low, high = paired_difference(score, reference)
    if low <= 0.0 <= high:
        return "equal"
    return "better" if (low > 0.0) == column.startswith("class/") else "worse"


def write_report(directory: Path, scores: Mapping[str, Mapping[str, Score]], facts: Mapping[str, Any]) -> Path:
    """Write ``probe.md``, ``probe.json`` and ``probe.png``; returns the first."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "facts": dict(facts),
        "scores": {
            name: {c: {"mean": s.mean, "low": s.low, "high": s.high} for c, s in row.items()}
            for name, row in scores.items()
        },
    }
    (directory / "probe.json").write_text(json.dumps(document, indent=2) + "\n")
    path = directory / "probe.md"
    path.write_text(probe_table(scores) + "\n")
    probe_figure(scores).savefig(directory / "probe.png", dpi=110)
    return path


def probe_figure(scores: Mapping[str, Mapping[str, Score]]) -> Any:
    """A matplotlib figure: one panel a target and read-out, bars with intervals, seen and held-out classes apart."""
    from matplotlib.figure import Figure

    names = list(scores)
    figure = Figure(figsize=(13, 2.6 + 0.42 * len(names) * 2), layout="constrained")
    panels: Any = figure.subplots(len(READOUTS), len(TARGETS), sharey=True)
    colors = {"seen": "#3b6ea5", "held_out": "#d98c3f"}
    for row, readout in enumerate(READOUTS):
        for column, target in enumerate(TARGETS):
            axes = panels[row][column]
            for offset, group in enumerate(_GROUPS):
                key = f"{target}/{readout}/{group}"
                values = [scores[name].get(key) for name in names]
                for i, score in enumerate(values):
                    if score is not None:
                        axes.barh(
                            i + 0.38 * (offset - 0.5),
                            score.mean,
                            0.36,
                            color=colors[group],
                            xerr=[[score.mean - score.low], [score.high - score.mean]],
                            error_kw={"elinewidth": 1, "capsize": 2},
                            label=_GROUPS[group] if i == 0 else None,
                        )
            better = "more is better" if target == "class" else "less is better"
            axes.set_title(f"{_TITLES[target]}, {readout} [{UNITS[target]}, {better}]", fontsize=9)
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.grid(axis="x", alpha=0.3)
    panels[0][0].invert_yaxis()
    panels[0][0].legend(fontsize=8)
    return figure


def _cell(column: str, score: Score, reference: Score, is_reference: bool) -> str:
    text = f"{score.mean:.1f} ({score.low:.1f}–{score.high:.1f})"
    if is_reference:
        return text
    mark = {"better": "**", "worse": "*", "equal": ""}[verdict(column, score, reference)]
    return f"{mark}{text}{mark}"
