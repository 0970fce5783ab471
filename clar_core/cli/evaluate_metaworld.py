"""``clar eval metaworld``: success of a policy over fresh starts of MetaWorld, beside its controls."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from clar_core.cli.evaluate import evaluate

if TYPE_CHECKING:
    from clar_core.evaluation.metaworld import MetaWorldEvaluationConfig


@dataclass(frozen=True)
class EvalMetaWorld:
    """Evaluate a policy in MetaWorld, over starts that training never saw."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Directory of a training run or of a checkpoint, or the word "expert"."""
    tasks: tuple[str, ...] = ()
    """Tasks such as reach; those that the checkpoint was trained for when left out."""
    compare: str | None = None
    """Another run or checkpoint, tried on the same starts."""
    trials: int = 25
    """Number of fresh starts a task."""
    selection_trials: int = 0
    """Starts a task on which the checkpoints of a run are compared, on seeds of their own; 0 takes best/."""
    camera: str = "corner"
    """Camera that sees the fresh starts; corner2 is the paper's other perspective."""
    recalibrate: bool = True
    """Tell the observation path where that camera stands; otherwise it believes in corner."""
    width: int = 320
    """Width of the depth image in pixels."""
    height: int = 240
    """Height of the depth image in pixels."""
    steps: int = 200
    """Steps of the environment until a trial has failed."""
    sentences: Literal["first", "seen", "unseen"] = "first"
    """Which of a task's sentences a policy with language is given; "unseen" ones are in no demonstration."""
    controls: bool = True
    """Try the controls that `clar train controls` made beside the run, too."""
    workers: int | None = None
    """Processes; the available cores when left out."""
    output: Path | None = None
    """Where results.json, trials.csv and report.html go; a folder in outputs/eval named after the evaluation when left
    out."""
    restart: bool = False
    """Throw away the trials that this evaluation has, instead of going on."""


def main(arguments: list[str]) -> int:
    """Evaluate; 1 with the reason when it cannot."""
    options = tyro.cli(EvalMetaWorld, prog="clar eval metaworld", args=arguments)
    command = shlex.join(["clar", "eval", "metaworld", *arguments])
    return evaluate(lambda: _config(options), command, options.output, restart=options.restart)


def _config(options: EvalMetaWorld) -> MetaWorldEvaluationConfig:
    from clar_core.data.metaworld_tasks import PREFIX
    from clar_core.evaluation.metaworld import MetaWorldEvaluationConfig

    return MetaWorldEvaluationConfig(
        checkpoint=options.checkpoint,
        compare=options.compare,
        tasks=tuple(task if task.startswith(PREFIX) else PREFIX + task for task in options.tasks),
        trials=options.trials,
        selection_trials=options.selection_trials,
        camera=options.camera,
        recalibrate=options.recalibrate,
        width=options.width,
        height=options.height,
        steps=options.steps,
        sentences=options.sentences,
        controls=options.controls,
        workers=options.workers,
    )
