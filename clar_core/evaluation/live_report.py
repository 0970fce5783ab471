"""The files of a live run: report.html with its pictures, video.mp4, contact_sheet.jpg, summary.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clar_core.evaluation import charts
from clar_core.evaluation.live import (
    MAX_CAPTURE_TO_COMMAND_MS,
    MIN_ON_TIME,
    MIN_REAL_TIME_FACTOR,
    LiveRun,
)
from clar_core.evaluation.report import Report, Tile, Tone
from clar_core.visualization import film

VIDEO_FPS = 10
SPEED_UP = 2
"""States come at 10 Hz; every second one is shown, at the same rate."""


def write_pictures(
    run: LiveRun, directory: Path, *, workers: int | None = None, progress: Callable[[int, int], object]
) -> None:
    """Draw the trials again and write ``video.mp4`` and ``contact_sheet.jpg``; nothing when no state was recorded.

    ``progress`` is called with (trials drawn, trials in all).
    """
    takes = [take.thinned(SPEED_UP) for take in run.takes() if len(take.times_s)]
    if not takes:
        return
    frames: list[list[bytes]] = [[] for _ in takes]
    progress(0, len(takes))
    for done, (index, drawn) in enumerate(film.draw(run.task, takes, workers=workers), start=1):
        frames[index] = drawn
        progress(done, len(takes))
    film.write_video(directory / "video.mp4", film.captioned(takes, frames), fps=VIDEO_FPS)
    _write(directory / "contact_sheet.jpg", film.contact_sheet(takes, frames))


def write_summary(summary: dict[str, Any], directory: Path) -> None:
    """Write ``summary.json``."""
    _write(directory / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def write_report(run: LiveRun, directory: Path, *, command: str, facts: Sequence[tuple[str, str]]) -> None:
    """Write ``report.html`` with the pictures that are there; ``facts`` are rows on how the run was made."""
    objections = run.objections()
    verdict = f"{run.outcome.successes} of {run.outcome.trials}"
    report = Report(
        run.task.replace("_", " ").capitalize(),
        f"A Franka FR3 in the simulated cell, driven by a policy that sees depth images alone: “{run.instruction}”",
        verdict=verdict if not objections else f"{verdict}, not valid",
        tone="good" if not objections and run.outcome.successes >= 0.8 * run.outcome.trials else "bad",
    )
    report.tiles(_tiles(run))
    for objection in objections:
        report.heading("This run does not count", objection)
    for remark in run.remarks():
        report.heading("Too slow", remark)
    _add_pictures(report, directory)
    report.heading("Trials")
    report.table(
        ["trial", "seed", "result", "time", "why it ended"],
        [
            [str(t.index + 1), str(t.seed), "success" if t.success else "failure", f"{t.duration_s:.1f} s", t.reason]
            for t in run.trials
        ],
        ["good" if t.success else "bad" for t in run.trials],
    )
    _add_latency(report, run)
    report.heading("How this was made")
    report.table(["", ""], [list(fact) for fact in facts])
    report.command(command)
    report.write(directory / "report.html")


def _tiles(run: LiveRun) -> list[Tile]:
    low, high = run.outcome.interval()
    ticks = run.counted_ticks
    on_time = run.on_time if ticks else 0.0
    latency, factor = run.capture_to_command, run.real_time_factor
    in_time = latency.p50 <= MAX_CAPTURE_TO_COMMAND_MS["p50"] and latency.p99 <= MAX_CAPTURE_TO_COMMAND_MS["p99"]
    return [
        Tile(
            "Success",
            f"{run.outcome.successes} of {run.outcome.trials}",
            f"95 % interval {100 * low:.0f}-{100 * high:.0f} %",
            _tone(run.outcome.successes >= 0.8 * run.outcome.trials),
        ),
        Tile(
            "Ticks on time",
            f"{100 * on_time:.1f} %",
            f"of {len(ticks)} at 10 Hz, bound {100 * MIN_ON_TIME:.0f} %",
            _tone(on_time >= MIN_ON_TIME),
        ),
        Tile(
            "Capture to command",
            f"{latency.p50:.0f} ms",
            f"p99 {latency.p99:.0f} ms, bounds {MAX_CAPTURE_TO_COMMAND_MS['p50']:.0f} and "
            f"{MAX_CAPTURE_TO_COMMAND_MS['p99']:.0f} ms",
            _tone(in_time),
        ),
        Tile(
            "Real-time factor",
            f"{factor:.2f}",
            f"of the simulator, bound {MIN_REAL_TIME_FACTOR}",
            _tone(factor >= MIN_REAL_TIME_FACTOR),
        ),
    ]


def _add_pictures(report: Report, directory: Path) -> None:
    video, sheet = directory / "video.mp4", directory / "contact_sheet.jpg"
    if not video.exists() and not sheet.exists():
        return
    report.heading("What happened")
    if video.exists():
        report.video(video.read_bytes(), f"All trials at {SPEED_UP}x speed, drawn after the run from recorded states.")
    if sheet.exists():
        report.image(sheet.read_bytes(), "One row a trial, from START to the verdict.")


def _add_latency(report: Report, run: LiveRun) -> None:
    ticks = run.counted_ticks
    latency = run.capture_to_command
    report.heading(
        "Latency",
        "From the capture stamp of the depth image to the command that it caused, over every tick between START and "
        "verdict: transport, cloud, waiting for the tick, network.",
    )
    values = [tick.capture_to_command_ms for tick in ticks]
    report.chart(
        charts.histogram(values, unit="ms", marks={"p50": latency.p50, "p99": latency.p99} if latency.count else {}),
        "Distribution over ticks.",
    )
    start = min((t.start_s for t in run.trials), default=0.0)
    report.chart(
        charts.timeline(
            [tick.time_s - start for tick in ticks],
            values,
            unit="ms",
            bound=MAX_CAPTURE_TO_COMMAND_MS["p99"],
            spans=[charts.Span(t.start_s - start, t.end_s - start, f"{t.index + 1}", t.success) for t in run.trials],
        ),
        "Over the run; trials are shaded by outcome.",
    )
    stages = {
        f"{node}: {stage}": p for node, of_node in run.stage_percentiles().items() for stage, p in of_node.items()
    }
    report.chart(charts.stage_bars(stages), "Stages within the nodes: bar to the median, whisker to p99.")


def _tone(good: bool) -> Tone:
    return "good" if good else "bad"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
