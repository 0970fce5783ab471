"""``clar eval cell``: success of a checkpoint, or of a task's expert, over fresh starts of the simulated cell."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True)
class EvalCell:
    """Evaluate a checkpoint in the gymnasium front of the simulated cell, over starts that training never saw."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Directory of a checkpoint, or the word "expert"."""
    task: str | None = None
    """Task; the one that the checkpoint was trained for when left out."""
    trials: int = 100
    """Number of starts."""
    first_seed: int | None = None
    """Seed of the first start; 1000000 when left out."""
    instruction: str = ""
    """Sentence for the policy; the task's first one when left out."""
    workers: int | None = None
    """Processes; the available cores when left out."""
    output: Path = Path("outputs/eval")
    """Where trials.json and report.html go."""


def main(arguments: list[str]) -> int:
    """Evaluate with a progress bar, print the result, write JSON and a report; 1 with the reason when it cannot."""
    options = tyro.cli(EvalCell, prog="clar eval cell", args=arguments)
    if options.trials < 1:
        return fail(f"--trials: expected at least 1, got {options.trials}")
    from tqdm import tqdm

    from clar_core.evaluation.cell_report import write_report
    from clar_core.evaluation.statistics import Proportion
    from clar_core.evaluation.trials import EXPERT, FRESH_SEEDS, evaluate, summarize, task_of
    from clar_core.workers import WorkerDiedError

    first = FRESH_SEEDS if options.first_seed is None else options.first_seed
    try:
        task = options.task or task_of(options.checkpoint)
        runs = evaluate(
            task,
            options.checkpoint,
            range(first, first + options.trials),
            instruction=options.instruction,
            workers=options.workers,
            render_depth=options.checkpoint != EXPERT,
        )
        trials = []
        with tqdm(total=options.trials, unit="trial") as bar:
            for trial in runs:
                trials.append(trial)
                bar.update()
                bar.set_postfix_str(str(Proportion(sum(t.success for t in trials), len(trials)).rate)[:5])
    except (ValueError, OSError, WorkerDiedError) as error:
        return fail(str(error))
    trials.sort(key=lambda trial: trial.seed)
    summary = {"task": task, "checkpoint": options.checkpoint, "first_seed": first, **summarize(trials)}
    options.output.mkdir(parents=True, exist_ok=True)
    part = options.output / "trials.json.part"
    part.write_text(json.dumps(summary | {"results": [t.to_dict() for t in trials]}, indent=2) + "\n")
    os.replace(part, options.output / "trials.json")
    write_report(options.output / "report.html", task, options.checkpoint, trials)
    print(f"{task}: {Proportion(sum(t.success for t in trials), len(trials))}")
    for trial in trials:
        if not trial.success:
            print(f"  seed {trial.seed}: {trial.reason} after {trial.duration_s:.1f} s")
    print(f"written: {options.output}/trials.json, {options.output}/report.html")
    return 0
