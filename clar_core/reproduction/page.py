"""The page of results: the paper's figures, ours from files of ``clar reproduce``, and how the protocols differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clar_core.data.metaworld import DEFAULT_CAMERA
from clar_core.evaluation.statistics import Proportion
from clar_core.reproduction.imported import Imported, read_imported
from clar_core.reproduction.run import FULL_SAMPLES
from clar_core.reproduction.tables import TABLES, Row, Table

_HEAD = """# The paper's tables

Written by `clar reproduce page` from the files in `docs/results/tables/`; do not edit it by hand. Success in percent.
The paper's figures are quoted from it. Ours are successes of trials from fresh starts with their 95 % Wilson interval,
beside the training samples of the policy. **A row without a figure of ours has not been run**, and says why where it
cannot be.
"""


def write_page(results: Path, page: Path) -> Path:
    """Write the page from ``<results>/*.json`` and what others report, in ``imported/`` beside; returns its path.

    Raises:
        ValueError: a file is not one of ``clar reproduce``, or not one of imported results; named.
    """
    page.write_text(text_of(read_results(results), read_imported(results.parent / "imported")), encoding="utf-8")
    return page


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Results by table. Raises ValueError naming a file that is not one of ``clar reproduce``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
            table, results = document["table"], list(document["results"])
            known = {row.name for row in TABLES[table].rows}
            for result in results:
                if result["row"] not in known:
                    raise ValueError(f"{table} has no row {result['row']!r}")
                Proportion(result["successes"], result["trials"]).interval()
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected a file of results that clar reproduce wrote ({error})") from error
        found.setdefault(table, []).extend(results)
    return found


def text_of(results: dict[str, list[dict[str, Any]]], imported: Sequence[Imported] = ()) -> str:
    """The page in Markdown."""
    parts = [_HEAD]
    for name, table in TABLES.items():
        mine = results.get(name, [])
        parts += [f"## {table.title}\n", f"{table.differences}\n"]
        parts.append(_paper(table, {result["row"] for result in mine}))
        if ours := _ours(table, mine):
            parts.append(ours)
        if table.instead:
            parts.append(f"What of it runs here:\n\n```bash\n{table.instead}\n```\n")
        for command in dict.fromkeys(result["command"] for result in mine):
            parts.append(f"```bash\n{command}\n```\n")
        if by_hand := [row for row in table.rows if row.command]:
            commands = "\n".join(f"{row.command}    # {row.name}" for row in by_hand)
            parts.append(f"With what they lack, by hand:\n\n```bash\n{commands}\n```\n")
    parts += [_of_others(one) for one in imported]
    return "\n".join(parts)


def _of_others(imported: Imported) -> str:
    lines = [f"## As others report it: {imported.method}\n", f"{imported.citation}\n"]
    lines += [_line(["setting", "benchmark", "success", "mean", "reported by"]), _line(["---"] * 5)]
    for r in imported.results:
        tasks = ", ".join(f"{task} {value:g}" for task, value in r.success_percent.items()) or "-"
        lines.append(_line([r.setting, r.benchmark, tasks, f"{r.mean_percent:g}", r.source]))
    return "\n".join(lines) + "\n\nNone of these figures was measured here.\n"


def _paper(table: Table, run: set[str]) -> str:
    columns = list(dict.fromkeys(column for row in table.rows for column in row.paper))
    reasons = list(dict.fromkeys(row.lacks for row in table.rows if row.lacks))
    lines = [_line(["row", *(f"{c}, paper" for c in columns), "ours"]), _line(["---"] * (len(columns) + 2))]
    for row in table.rows:
        figures = [f"{row.paper[c]:g}" if c in row.paper else "-" for c in columns]
        lines.append(_line([row.name, *figures, _state(row, run, reasons)]))
    lines += [""] + [f"{number}. Lacks {reason}." for number, reason in enumerate(reasons, start=1)]
    return "\n".join(lines) + "\n"


def _state(row: Row, run: set[str], reasons: list[str]) -> str:
    if row.name in run:
        return "see below"
    return f"not run ({reasons.index(row.lacks) + 1})" if row.lacks else "not run yet"


def _ours(table: Table, results: list[dict[str, Any]]) -> str:
    if not any(row.runs_with(()) for row in table.rows):
        return ""
    if not results:
        return "**None of our rows has been run.**\n"
    lines = [_line(["ours", "task", "camera", "training samples", "seeds", "success"]), _line(["---"] * 6)]
    order = [row.name for row in table.rows]
    by_policy: dict[tuple[int, str, str, int], list[dict[str, Any]]] = {}
    for r in sorted(results, key=lambda r: int(r["seed"])):
        key = (order.index(r["row"]), r["task"], r.get("camera", DEFAULT_CAMERA), r["samples"])
        by_policy.setdefault(key, []).append(r)
    for (row, task, camera, samples), of_seeds in sorted(by_policy.items()):
        share = f"{samples:,} ({100 * samples / FULL_SAMPLES:.1f} % of the paper's)"
        seeds = ", ".join(str(r["seed"]) for r in of_seeds)
        lines.append(_line([order[row], task, camera, share, seeds, _success(of_seeds)]))
    run = {(r["row"], r["task"]) for r in results}
    ran = [row.name for row in table.rows if row.encoder and any(row.name == name for name, _ in run)]
    rest = [row.name for row in table.rows if row.runs_with(()) and row.name not in ran]
    partly = [f"{name}: {missing}" for name in ran if (missing := _missing(table, name, run))]
    if rest:
        lines += ["", f"Not run yet, though they can be: {', '.join(rest)}."]
    if partly:
        lines += ["", f"Tasks not run yet, of {'; of '.join(partly)}."]
    return "\n".join(lines) + "\n"


def _success(of_seeds: list[dict[str, Any]]) -> str:
    """Of one policy, or of several that differ in the seed of the training: then the mean, and every one's."""
    outcomes = [Proportion(r["successes"], r["trials"]) for r in of_seeds]
    if len(outcomes) == 1:
        return str(outcomes[0])
    rates = [100 * o.successes / o.trials for o in outcomes]
    each = ", ".join(f"{o.successes} of {o.trials}" for o in outcomes)
    return f"mean {sum(rates) / len(rates):.1f} % ({each})"


def _missing(table: Table, name: str, run: set[tuple[str, str]]) -> str:
    return ", ".join(task for task in table.tasks if (name, task) not in run)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
