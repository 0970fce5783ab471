"""``clar eval rlbench``: success of a policy of keyframes in RLBench, or its errors on stored demonstrations."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from clar_core.cli.evaluate import evaluate
from clar_core.cli.main import fail

if TYPE_CHECKING:
    from clar_core.evaluation.rlbench import RLBenchEvaluationConfig


@dataclass(frozen=True)
class EvalRLBench:
    """Evaluate a policy of keyframes: in RLBench, whose planner goes where it says; or, with --demos, without it."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Directory of a training run or of a checkpoint; of RVT-2 the file model_99.pth."""
    tasks: tuple[str, ...] = ()
    """Tasks such as close_box; those that the checkpoint was trained for when left out."""
    demos: Path | None = None
    """Folder of stored demonstrations, of one task or of several: how far off is the policy at each of their keyframes?
    Needs no simulator, and says nothing about success."""
    include_seen: bool = False
    """With --demos: measure demonstrations that training saw, too."""
    policy: Literal["clar", "rvt2"] = "clar"
    """Whose checkpoint it is."""
    compare: str | None = None
    """Another run or checkpoint, tried on the same starts."""
    trials: int = 25
    """Number of fresh starts a task."""
    selection_trials: int = 0
    """Starts a task on which the checkpoints of a run are compared, on seeds of their own; 0 takes best/."""
    steps: int = 25
    """Keyframes until a trial has failed."""
    camera: str = "front"
    """Camera that the policy sees through."""
    image_size: int = 128
    """Side of its images in pixels."""
    sentences: Literal["first", "seen"] = "first"
    """Which of RLBench's sentences a policy with language is given: the first one, or all in turn."""
    controls: bool = True
    """Try the controls that `clar train controls` made beside the run, too."""
    workers: int = 1
    """Simulators at once, each in its own process."""
    output: Path | None = None
    """Where the results go; a folder in outputs/eval named after the evaluation when left out."""
    restart: bool = False
    """Throw away what this evaluation has, instead of going on."""


def main(arguments: list[str]) -> int:
    """Evaluate; 1 with the reason when it cannot."""
    options = tyro.cli(EvalRLBench, prog="clar eval rlbench", args=arguments)
    command = shlex.join(["clar", "eval", "rlbench", *arguments])
    if options.demos is None:
        return evaluate(lambda: _config(options), command, options.output, restart=options.restart)
    return _on_demonstrations(options, options.demos, command)


def _config(options: EvalRLBench) -> RLBenchEvaluationConfig:
    from clar_core.evaluation.rlbench import RLBenchEvaluationConfig

    config = RLBenchEvaluationConfig(
        checkpoint=options.checkpoint,
        compare=options.compare,
        tasks=options.tasks,
        trials=options.trials,
        selection_trials=options.selection_trials,
        sentences=options.sentences,
        controls=options.controls and options.policy == "clar",
        policy=options.policy,
        camera=options.camera,
        image_size=options.image_size,
        steps=options.steps,
        workers=options.workers,
    )
    config.require()
    return config


def _on_demonstrations(options: EvalRLBench, demos: Path, command: str) -> int:
    from tqdm import tqdm

    from clar_core.evaluation.keyframes import KeyframeEvaluationConfig, evaluate_keyframes
    from clar_core.evaluation.keyframes_report import summary, write_keyframe_results
    from clar_core.evaluation.progress import shown_on

    if options.policy != "clar" or options.compare is not None:
        return fail(
            "--demos: measures one policy of `clar train` beside its controls; leave --policy and --compare out"
        )
    try:
        config = KeyframeEvaluationConfig(
            checkpoint=options.checkpoint,
            demos=demos,
            tasks=options.tasks,
            camera=options.camera,
            controls=options.controls,
            include_seen=options.include_seen,
        )
        with tqdm(total=1, unit="demonstration") as bar:
            evaluation = evaluate_keyframes(config, options.output, restart=options.restart, progress=shown_on(bar))
        written = write_keyframe_results(evaluation, command)
    except (ValueError, OSError, ImportError) as error:
        return fail(str(error))
    print(summary(evaluation))
    print(f"written: {', '.join(map(str, written))}")
    return 0
