"""``clar data validate`` and ``clar data inspect``: is a bag fit for training, and what is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from clar_core.cli.data_options import OBSERVATION_HELP, calibration, mapping, observation
from clar_core.cli.main import fail

_WIDTH_OF_A_FILE = 150
_COLORS = {"ok": "green", "warn": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Validate:
    """One line for each episode, with a verdict: ok, warn or bad, and why."""

    bags: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Bags, or folders of them."""
    observation: Annotated[str, tyro.conf.arg(help=OBSERVATION_HELP)] = "default"
    mapping: Path | None = None
    """YAML file with topic names, for bags of other recorders."""
    calibration: Path | None = None
    """Calibration file that the transforms and the hash must equal."""
    json: Path | None = None
    """Write all figures here."""
    full: bool = False
    """Print every check of every episode."""


@dataclass(frozen=True)
class Inspect:
    """What a bag holds: topics, rates, episodes, camera, transforms."""

    bag: Annotated[Path, tyro.conf.Positional]
    """A bag."""
    mapping: Path | None = None
    """YAML file with topic names, for bags of other recorders."""


def main(arguments: list[str]) -> int:
    """Run ``validate`` or ``inspect``, the first argument; 1 when an episode is bad or a bag cannot be read."""
    if arguments[0] == "inspect":
        return _inspect(arguments[1:])
    return _validate(arguments[1:])


def _validate(arguments: list[str]) -> int:
    options = tyro.cli(Validate, prog="clar data validate", args=arguments)
    from rich.progress import track

    from clar_core.data.convert import find_bags
    from clar_core.data.quality import EpisodeReport, assess, compare

    reports: list[EpisodeReport] = []
    errors: list[str] = []
    console = _console()
    try:
        spec, names, bags = observation(options.observation), mapping(options.mapping), find_bags(options.bags)
        given = calibration(options.calibration)
    except (ValueError, OSError) as error:
        return fail(str(error))
    for bag in track(bags, "validating", console=console, transient=True):
        try:
            reports += assess(bag, spec, names, calibration=given)
        except (ValueError, OSError) as error:
            errors.append(str(error))
    reports = compare(reports)
    console.print(_table(reports))
    if options.full:
        for report in reports:
            console.print(_checks(report))
    for text in errors:
        console.print(f"[red]cannot be read:[/red] {text}", soft_wrap=True)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"episodes": [report.to_dict() for report in reports], "errors": errors}
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        console.print(f"written: {options.json}")
    return 1 if errors or any(report.verdict == "bad" for report in reports) else 0


def _console() -> Any:
    """The terminal; wide enough for a table where there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)


def _table(reports: list[Any]) -> Any:
    from rich.table import Table

    tasks = ", ".join(dict.fromkeys(r.task for r in reports))
    count = ", ".join(f"{sum(r.verdict == level for r in reports)} {level}" for level in _COLORS)
    table = Table(title=f"{len(reports)} episodes of {tasks or 'no task'}: {count}")
    for column in ("episode", "verdict", "outcome", "s", "steps", "depth Hz", "points"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold")
    for r in reports:
        f = r.figures
        table.add_row(
            r.episode,
            f"[{_COLORS[r.verdict]}]{r.verdict}[/]",
            r.outcome,
            f"{r.duration_s:.1f}",
            str(r.steps),
            f"{f.get('depth_rate_hz', 0):.1f}",
            f"{f.get('depth_points_min', 0):.0f}-{f.get('depth_points_max', 0):.0f}",
            "; ".join(r.reasons),
        )
    return table


def _checks(report: Any) -> Any:
    from rich.table import Table

    table = Table(title=f"{report.episode}: {report.verdict}")
    for column in ("check", "value", "level", "hint"):
        table.add_column(column, overflow="fold")
    for finding in report.findings:
        table.add_row(finding.check, finding.value, f"[{_COLORS[finding.level]}]{finding.level}[/]", finding.hint)
    return table


def _inspect(arguments: list[str]) -> int:
    options = tyro.cli(Inspect, prog="clar data inspect", args=arguments)
    from rich.table import Table

    from clar_core.data.bag_episode import windows
    from clar_core.data.bag_log import read_log
    from clar_core.data.bags import BagReader

    console = _console()
    try:
        names = mapping(options.mapping)
        with BagReader(options.bag) as bag:
            table = Table(title=f"{options.bag}: {bag.duration_s:.1f} s, {bag.message_count} messages")
            for column in ("topic", "type", "messages", "Hz"):
                table.add_column(column, overflow="fold")
            for topic in bag.topics.values():
                rate = topic.count / bag.duration_s if bag.duration_s > 0 else 0.0
                table.add_row(topic.name, topic.msgtype, str(topic.count), f"{rate:.1f}")
            console.print(table)
            for key, value in sorted(bag.notes.items()):
                console.print(f"{key}: {value}", soft_wrap=True)
            log = read_log(bag, names)
            for window in windows(bag, log, names):
                console.print(f"episode {window.name}: {window.task}, {window.outcome}, {window.instruction!r}")
            for camera in log.intrinsics:
                console.print(f"depth camera: {camera}", soft_wrap=True)
            console.print(f"frames: {', '.join(log.frames.frames())}", soft_wrap=True)
            console.print(f"calibration: {log.calibration_hash or 'none'}", soft_wrap=True)
    except (ValueError, OSError) as error:
        return fail(str(error))
    return 0
