"""``clar eval cell``: success of a policy over fresh starts of the simulated cell, beside its controls."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from clar_core.cli.main import fail

if TYPE_CHECKING:
    from clar_core.evaluation.cell import Evaluation, EvaluationConfig
    from clar_core.evaluation.contenders import Contender


@dataclass(frozen=True)
class EvalCell:
    """Evaluate a policy in the gymnasium front of the simulated cell, over starts that training never saw."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Directory of a training run or of a checkpoint, or the word "expert"."""
    tasks: tuple[str, ...] = ()
    """Tasks; those that the checkpoint was trained for when left out."""
    compare: str | None = None
    """Another run or checkpoint, tried on the same starts."""
    trials: int = 100
    """Number of fresh starts a task."""
    first_seed: int | None = None
    """Seed of the first fresh start; 1000000 when left out."""
    selection_trials: int = 25
    """Starts a task on which the checkpoints of a run are compared, on seeds of their own; 0 takes best/."""
    sentences: Literal["first", "seen", "unseen"] = "first"
    """Which of a task's sentences a policy with language is given; "unseen" ones are in no demonstration."""
    controls: bool = True
    """Try the controls that `clar train controls` made beside the run, too."""
    move_camera_m: float = 0.0
    """Move the camera by so much against training, in a direction drawn for each start."""
    turn_camera_deg: float = 0.0
    """Turn it by so much."""
    recalibrate: bool = True
    """Tell the observation path where the camera stands now."""
    gallery: int = 8
    """Show at most so many failures of a policy in pictures; 0 shows none."""
    workers: int | None = None
    """Processes; the available cores when left out."""
    output: Path | None = None
    """Where results.json, trials.csv and report.html go; a folder in outputs/eval named after the evaluation when left
    out."""
    restart: bool = False
    """Throw away the trials that this evaluation has, instead of going on."""


def main(arguments: list[str]) -> int:
    """Evaluate with a progress bar, print the result, write JSON, CSV and a report; 1 with the reason when not."""
    options = tyro.cli(EvalCell, prog="clar eval cell", args=arguments)
    return evaluate(
        lambda: _config(options),
        shlex.join(["clar", "eval", "cell", *arguments]),
        options.output,
        restart=options.restart,
        pictures=lambda evaluation: _pictures(evaluation, options),
    )


def evaluate(
    config: Callable[[], EvaluationConfig],
    command: str,
    output: Path | None,
    *,
    restart: bool,
    pictures: Callable[[Evaluation], list[tuple[Contender, str, bytes]]] = lambda _: [],
) -> int:
    """Evaluate with a progress bar, print the result, write JSON, CSV and a report.

    Args:
        config: makes the configuration; the ValueError of a wrong one is shown as any other.
        command: that makes the evaluation again, for the report.
        output: where the results go; a folder named after the evaluation when left out.
        restart: throw away earlier trials.
        pictures: of failures.
    """
    from tqdm import tqdm

    from clar_core.evaluation.cell import run_evaluation
    from clar_core.evaluation.cell_report import write_results
    from clar_core.evaluation.progress import shown_on
    from clar_core.workers import WorkerDiedError

    try:
        with tqdm(total=1, unit="trial") as bar:
            evaluation = run_evaluation(config(), output, restart=restart, progress=shown_on(bar))
        shown = pictures(evaluation)
    except WorkerDiedError as error:
        return fail(f"{error}\nThe same command goes on with the trials that are missing.")
    except (ValueError, OSError, ImportError) as error:
        return fail(str(error))
    written = write_results(evaluation, command, shown)
    print(_summary(evaluation))
    print(f"written: {', '.join(map(str, written))}")
    return 0


def _config(options: EvalCell) -> EvaluationConfig:
    from clar_core.evaluation.cell import EvaluationConfig
    from clar_core.evaluation.trials import FRESH_SEEDS
    from clar_core.simulation.camera import CameraMove

    moved = options.move_camera_m or options.turn_camera_deg
    return EvaluationConfig(
        checkpoint=options.checkpoint,
        compare=options.compare,
        tasks=options.tasks,
        trials=options.trials,
        first_seed=FRESH_SEEDS if options.first_seed is None else options.first_seed,
        selection_trials=options.selection_trials,
        sentences=options.sentences,
        controls=options.controls,
        camera_move=CameraMove(options.move_camera_m, math.radians(options.turn_camera_deg), options.recalibrate)
        if moved
        else None,
        workers=options.workers,
    )


def _pictures(evaluation: Evaluation, options: EvalCell) -> list[tuple[Contender, str, bytes]]:
    from tqdm import tqdm

    from clar_core.evaluation.gallery import contact_sheets, failures

    pictures: list[tuple[Contender, str, bytes]] = []
    for contender in evaluation.having("fresh"):
        count = len(failures(evaluation, contender, options.gallery))
        if not count:
            continue
        with tqdm(total=count, desc="drawing failures", unit="trial") as bar:
            sheets = contact_sheets(
                evaluation,
                contender,
                options.gallery,
                workers=options.workers,
                progress=lambda n, _: bar.update(n - bar.n),
            )
            pictures += [(contender, task, sheet) for task, sheet in sheets]
    return pictures


def _summary(evaluation: Evaluation) -> str:
    lines = []
    for c in (*evaluation.having("selection"), *evaluation.having("fresh"), *evaluation.having("control")):
        for task in evaluation.tasks:
            lines.append(f"{c.role:<10}{c.name:<24}{task:<22}{evaluation.outcome(c, task)}")
    fresh = evaluation.having("fresh")
    if len(fresh) == 2:
        first, second = fresh
        lines.append(evaluation.comparison(first, second).verdict(first.source, second.source))
    return "\n".join(lines)
