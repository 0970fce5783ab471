"""What an evaluation on stored keyframes leaves: figures for programs, a page, and lines for the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clar_core.evaluation import charts
from clar_core.evaluation.contenders import CONTROLS
from clar_core.evaluation.keyframes import POLICY, STAYS, KeyframeDecision, KeyframeEvaluation
from clar_core.evaluation.report import Report, Tile
from clar_core.evaluation.statistics import Percentiles, Proportion

_SAYS = (
    "Open loop: every decision is made from what a demonstration showed at a keyframe, and compared with its next one. "
    "It says nothing about success: no simulator ran."
)


def figures(decisions: Sequence[KeyframeDecision]) -> dict[str, Any]:
    """Figures of decisions, as plain values for JSON."""
    right = Proportion(sum(d.gripper_right for d in decisions), len(decisions))
    changes = [d for d in decisions if d.gripper_changes]
    changed = Proportion(sum(d.gripper_right for d in changes), len(changes))
    return {
        "decisions": len(decisions),
        "demonstrations": len({(d.task, d.demonstration) for d in decisions}),
        "position_mm": Percentiles.of(d.distance_mm for d in decisions).to_dict(),
        "rotation_deg": Percentiles.of(d.angle_deg for d in decisions).to_dict(),
        "gripper": {"right": right.successes, "of": right.trials, "wilson_95": list(right.interval())},
        "gripper_at_changes": {"right": changed.successes, "of": changed.trials, "wilson_95": list(changed.interval())},
    }


def summary(evaluation: KeyframeEvaluation) -> str:
    """Lines for the terminal."""
    lines = [" ".join(f"{cell:<24}" for cell in row).rstrip() for row in (_COLUMNS, *_rows(evaluation))]
    return "\n".join([*lines, *_notes(evaluation)])


def write_keyframe_results(evaluation: KeyframeEvaluation, command: str) -> list[Path]:
    """Write ``results.json`` and ``report.html`` beside the decisions; returns their paths.

    Args:
        command: that makes the evaluation again.
    """
    results = evaluation.directory / "results.json"
    values = {
        "kind": "keyframes, open loop",
        "evaluation": json.loads((evaluation.directory / "identity.json").read_bytes()),
        "command": command,
        "notes": _notes(evaluation),
        "left_out": evaluation.left_out,
        "tasks": {
            task: {name: figures(evaluation.of(name, task)) for name in evaluation.contenders}
            for task in evaluation.tasks
        },
    }
    part = results.with_name(results.name + ".part")
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    os.replace(part, results)
    page = evaluation.directory / "report.html"
    _page(evaluation, command).write(page)
    return [results, page]


_COLUMNS = ("task", "who", "position error", "rotation error", "gripper right", "where it changes")


def _rows(evaluation: KeyframeEvaluation) -> list[list[str]]:
    rows = []
    for task in evaluation.tasks:
        for name in evaluation.contenders:
            f = figures(evaluation.of(name, task))
            grippers = [_share(f[key]) for key in ("gripper", "gripper_at_changes")]
            position = f"{f['position_mm']['p50']:.1f} mm, mean {f['position_mm']['mean']:.1f}"
            rotation = f"{f['rotation_deg']['p50']:.1f} deg, mean {f['rotation_deg']['mean']:.1f}"
            rows.append([task, name, position, rotation, *grippers])
    return rows


def _share(values: dict[str, Any]) -> str:
    if not values["of"]:
        return "-"
    low, high = values["wilson_95"]
    return f"{values['right']} of {values['of']} ({100 * low:.0f}-{100 * high:.0f} %)"


def _notes(evaluation: KeyframeEvaluation) -> list[str]:
    notes = []
    if evaluation.seen:
        what = "measured all the same" if evaluation.config.include_seen else "left out"
        notes.append(f"training saw {evaluation.seen} of the demonstrations: {what}")
    if evaluation.missing_stores:
        stores = ", ".join(evaluation.missing_stores)
        notes.append(f"whether training saw these demonstrations cannot be told: not there any more: {stores}")
    if evaluation.left_out:
        notes.append(f"left out: {len(evaluation.left_out)}, the first: {evaluation.left_out[0]}")
    return notes


def _page(evaluation: KeyframeEvaluation, command: str) -> Report:
    mine = evaluation.of(POLICY)
    f = figures(mine)
    low, high = f["gripper"]["wilson_95"]
    page = Report(
        f"{', '.join(evaluation.tasks)}: {f['position_mm']['p50']:.1f} mm, {f['rotation_deg']['p50']:.1f} degrees",
        f"{evaluation.config.checkpoint}. {_SAYS}",
    )
    page.tiles(
        [
            Tile("Position", f"{f['position_mm']['p50']:.1f} mm", f"median; p99 {f['position_mm']['p99']:.1f} mm"),
            Tile("Rotation", f"{f['rotation_deg']['p50']:.1f}°", f"median; p99 {f['rotation_deg']['p99']:.1f}°"),
            Tile(
                "Gripper",
                f"{f['gripper']['right']} of {f['gripper']['of']}",
                f"95 % interval {100 * low:.0f}-{100 * high:.0f} % (Wilson)",
            ),
            Tile("Decisions", str(f["decisions"]), f"in {f['demonstrations']} demonstrations"),
        ]
    )
    page.heading("Errors", "Medians and means over keyframes. " + " ".join(f"{note}." for note in _notes(evaluation)))
    rows = _rows(evaluation)
    page.table(_COLUMNS, rows, ["good" if row[1] == POLICY else "plain" for row in rows])
    told = {name: text for name, text in CONTROLS.items() if name in evaluation.contenders}
    told[STAYS] = "no policy: the arm and the gripper stay as they are"
    page.table(["control", "what it tells"], [[name, text] for name, text in told.items()])
    for title, sample, unit in (
        ("Position", [d.distance_mm for d in mine], "mm"),
        ("Rotation", [d.angle_deg for d in mine], "deg"),
    ):
        p = Percentiles.of(sample)
        page.heading(f"{title} error of the policy")
        page.chart(charts.histogram(sample, unit=unit, marks={"p50": p.p50, "p99": p.p99}))
    page.heading("Again", "The same command goes on where it was cut off, and changes nothing once it is complete.")
    page.command(command)
    return page
