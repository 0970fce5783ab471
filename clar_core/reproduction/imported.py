"""Results that others report: files with a source each, shown on the page and never counted as ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImportedResult:
    """One reported result.

    Attributes:
        setting: the method and how it was run.
        benchmark: on what.
        success_percent: by task; empty where only a mean is known.
        mean_percent: over the tasks, as reported.
        source: who reports it.
    """

    setting: str
    benchmark: str
    success_percent: dict[str, float]
    mean_percent: float
    source: str


@dataclass(frozen=True)
class Imported:
    """The results of one method, and where it is described."""

    method: str
    citation: str
    results: tuple[ImportedResult, ...]


def read_imported(folder: Path) -> list[Imported]:
    """What is in a folder's files, by name. Raises ValueError naming a file that is no such one."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
            results = tuple(_result(values) for values in document["results"])
            found.append(Imported(_text(document, "method"), _text(document, "citation"), results))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: expected results of others with method, citation and source ({error})"
            ) from error
    return found


def _result(values: dict[str, object]) -> ImportedResult:
    tasks = values["success_percent"]
    if not isinstance(tasks, dict):
        raise ValueError(f"success_percent: expected an object, got {tasks!r}")
    figures = {str(task): _percent(value) for task, value in tasks.items()}
    mean = _percent(values["mean_percent"])
    return ImportedResult(_text(values, "setting"), _text(values, "benchmark"), figures, mean, _text(values, "source"))


def _text(values: dict[str, object], name: str) -> str:
    value = values[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: expected a text, got {value!r}")
    return value


def _percent(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 100:
        raise ValueError(f"expected a number of percent, got {value!r}")
    return float(value)
