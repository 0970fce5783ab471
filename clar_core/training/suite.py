"""The paper's five tasks from demonstrations to a table: data, policies, controls and evaluations, stage by stage.

    per task:   demonstrations -> a policy, from a pre-trained encoder if there is one, and one from scratch
                -> controls -> both on the same fresh starts, beside the controls -> again with the camera moved
    all tasks:  one policy told by sentences -> sentences that training never saw

Every stage leaves its result in a folder of its own and is skipped when that is complete, so that the suite can be run
in pieces of any length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.store import Store
from clar_core.evaluation.cell import Evaluation, EvaluationConfig, run_evaluation
from clar_core.evaluation.cell_report import write_results
from clar_core.evaluation.contenders import CONTROLS
from clar_core.evaluation.statistics import Proportion
from clar_core.simulation.camera import CameraMove
from clar_core.simulation.collect import CollectConfig, collect
from clar_core.simulation.perturbation import Perturbation
from clar_core.simulation.tasks import TASKS, get_task
from clar_core.training.checkpoint_files import copy_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.controls import train_controls
from clar_core.training.finished import is_finished
from clar_core.training.imitation import train_imitation
from clar_core.training.precision import Precision

Say = Callable[[str], None]

_COMMAND = "clar train suite"
_PERTURBATION = Perturbation()
_AUGMENTATION = AugmentationConfig(
    max_lost=0.15,
    reach_min_m=(0.28, -0.40, 0.0),
    reach_max_m=(0.75, 0.36, 0.50),
    hand_share=0.5,
    hand_closed_share=0.3,
)


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """What the suite does.

    Attributes:
        output: where everything goes.
        tasks: which of the cell's tasks; all when left out.
        episodes: demonstrations a task; the paper has 30.
        encoder: a preset of ``models.registry``.
        init_from: checkpoint of pre-training; without it only policies from scratch are trained.
        scratch: with ``init_from``, also train each policy from scratch and compare the two.
        controls: train and evaluate the controls.
        encoder_training: how the pre-trained encoder learns: at the head's rate, at a tenth of it, or not at all.
        chunk: actions that are predicted at once; the paper has 1.
        samples: training samples of a policy.
        multi_task_samples: of the multi-task policy; ``samples`` for each task when left out.
        precision: of the training's matrix products; ``auto`` takes what is faster here.
        trials: fresh starts a task.
        selection_trials: starts by which a run's checkpoint is chosen, spread over the tasks of the run.
        camera_trials: fresh starts a task with the camera moved, told of it and not; 0 leaves that out.
        single_task: train a policy of each task.
        multi_task: train the policy of all tasks, too.
        perturb: of the demonstrations.
        augmentation: of the training samples.
        threads: of the training, 0 leaves PyTorch's choice.
        workers: processes that collect and evaluate; all cores when None.
    """

    output: Path = Path("outputs/suite")
    tasks: tuple[str, ...] = ()
    episodes: int = 30
    encoder: str = "clar_small"
    init_from: Path | None = None
    scratch: bool = True
    controls: bool = True
    encoder_training: Literal["scratch", "finetune", "frozen"] = "finetune"
    chunk: int = 1
    samples: int = 200_000
    multi_task_samples: int | None = None
    precision: Precision = "fp32"
    trials: int = 100
    selection_trials: int = 25
    camera_trials: int = 50
    single_task: bool = True
    multi_task: bool = True
    perturb: Perturbation = _PERTURBATION
    augmentation: AugmentationConfig = _AUGMENTATION
    threads: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            get_task(task)
        if not self.single_task and not (self.multi_task and len(self.chosen_tasks) > 1):
            raise ValueError("nothing to train: without single_task, multi_task and more than one task are needed")

    @property
    def compared(self) -> bool:
        """Whether each policy has one from scratch beside it."""
        return self.scratch and self.init_from is not None

    @property
    def chosen_tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return self.tasks or tuple(TASKS)

    def store(self, task: str) -> Path:
        """Demonstrations of a task."""
        return self.output / "data" / task

    def run(self, name: str, task: str) -> Path:
        """A run: "policy" or "scratch" of a task, or "multi_task" of all."""
        return self.output / "runs" / name / task

    def chosen(self, task: str) -> Path:
        """Copy of the policy's checkpoint that was chosen; the folder of them all is what ``clar eval live`` takes."""
        return self.output / "chosen" / task

    def training(self, name: str, task: str) -> ImitationConfig:
        """The training of a run."""
        several = name == "multi_task"
        pretrained = name != "scratch" and self.init_from is not None
        tasks = self.chosen_tasks if several else (task,)
        samples = self.samples * len(tasks)
        if several and self.multi_task_samples is not None:
            samples = self.multi_task_samples
        return ImitationConfig(
            stores=tuple(self.store(t) for t in tasks),
            output=self.run(name, task),
            encoder=self.encoder,
            language=several,
            init_from=self.init_from if pretrained else None,
            init_encoder_only=pretrained,
            encoder_training=self.encoder_training if pretrained else "scratch",
            augmentation=self.augmentation,
            chunk=self.chunk,
            samples=samples,
            precision=self.precision,
            keep_every=max(samples // 4, 1),
            ema_decay=0.995,
            threads=self.threads,
            workers=1,
        )


def run_suite(config: SuiteConfig, say: Say = print) -> dict[str, Any]:
    """Run every stage that is not done yet, and write ``results.json`` and ``results.md``; returns the former.

    Results that an earlier run was asked for, and this one is not, are kept: they are of the same policies.

    Raises:
        StoreError, CheckpointError, TrainingError, WorkerDiedError: as the stages do; what is done stays. So does a run
            that was finished with other settings: TrainingError names the first.
    """
    results = _earlier(config)
    for task in config.chosen_tasks:
        _demonstrate(config, task, say)
        if not config.single_task:
            continue
        for name in ("policy", "scratch") if config.compared else ("policy",):
            _train(config, name, task, say)
        if config.controls:
            say(f"{task}: controls")
            train_controls(config.run("policy", task), perturb=config.perturb)
        results["tasks"].setdefault(task, {}).update(_evaluate(config, task, say))
        _write(config, results)
    if config.multi_task and len(config.chosen_tasks) > 1:
        _train(config, "multi_task", "all", say)
        results["multi_task"] = _evaluate_all(config, say)
    _write(config, results)
    return results


def _demonstrate(config: SuiteConfig, task: str, say: Say) -> None:
    store = config.store(task)
    there = Store(store).episodes if (store / "zarr.json").exists() else []
    missing = config.episodes - len(there)
    if missing > 0:
        say(f"{task}: {missing} demonstrations into {store}")
        wanted = CollectConfig(task=task, directory=store, perturb=config.perturb, workers=config.workers)
        first = max((int(e.info["seed"]) + 1 for e in there), default=wanted.first_seed)
        collect(replace(wanted, episodes=missing, first_seed=first))


def _train(config: SuiteConfig, name: str, task: str, say: Say) -> None:
    training = config.training(name, task)
    if not is_finished(training):
        say(f"{task}: training {name}, {training.samples} samples into {training.output}")
        train_imitation(training)


def _evaluate(config: SuiteConfig, task: str, say: Say) -> dict[str, Any]:
    run = str(config.run("policy", task))
    base = EvaluationConfig(
        checkpoint=run,
        compare=str(config.run("scratch", task)) if config.compared else None,
        controls=config.controls,
        tasks=(task,),
        trials=config.trials,
        selection_trials=config.selection_trials,
        workers=config.workers,
    )
    say(f"{task}: evaluation")
    plain = _evaluated(config, f"{task}/plain", base)
    copy_checkpoint(Path(plain.chosen["policy"]), config.chosen(task))
    result: dict[str, Any] = {c.name: _counts(plain.outcome(c)) for c in plain.contenders if c.role != "selection"}
    if config.compared:
        first, second = plain.having("fresh")
        result["comparison"] = plain.comparison(first, second).to_dict()
    if config.camera_trials:
        chosen = replace(base, checkpoint=plain.chosen["policy"], compare=None, controls=False, selection_trials=0)
        for name, told in (("camera_recalibrated", True), ("camera_image_frame", False)):
            say(f"{task}: {name}")
            moved = replace(chosen, trials=config.camera_trials, camera_move=CameraMove(recalibrated=told))
            evaluation = _evaluated(config, f"{task}/{name}", moved)
            result[name] = _counts(evaluation.outcome(evaluation.having("fresh")[0]))
    return result


def _evaluate_all(config: SuiteConfig, say: Say) -> dict[str, Any]:
    say("all tasks: sentences that training never saw")
    evaluation = _evaluated(
        config,
        "multi_task",
        EvaluationConfig(
            checkpoint=str(config.run("multi_task", "all")),
            tasks=config.chosen_tasks,
            trials=config.trials,
            selection_trials=math.ceil(config.selection_trials / len(config.chosen_tasks)),
            sentences="unseen",
            controls=False,
            workers=config.workers,
        ),
    )
    policy = evaluation.having("fresh")[0]
    return {task: _counts(evaluation.outcome(policy, task)) for task in evaluation.tasks}


def _evaluated(config: SuiteConfig, name: str, evaluation: EvaluationConfig) -> Evaluation:
    done = run_evaluation(evaluation, config.output / "evaluations" / name)
    write_results(done, _COMMAND)
    return done


def _counts(outcome: Proportion) -> list[int]:
    return [outcome.successes, outcome.trials]


def _earlier(config: SuiteConfig) -> dict[str, Any]:
    written = config.output / "results.json"
    if not written.exists():
        return {"tasks": {}, "multi_task": None}
    try:
        results: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{written}: not a file of results ({error}); move it away, what is done is kept") from error
    return results


def _write(config: SuiteConfig, results: dict[str, Any]) -> None:
    config.output.mkdir(parents=True, exist_ok=True)
    (config.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (config.output / "results.md").write_text(table(results), encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table: one row a task, with 95 % Wilson intervals, and the means."""
    columns = ["policy", "compared", *CONTROLS, "camera_recalibrated", "camera_image_frame"]
    names = {"compared": "from scratch", "camera_recalibrated": "camera moved, calibrated",
             "camera_image_frame": "camera moved, not told"}  # fmt: skip
    several = results["multi_task"] or {}
    rows: dict[str, dict[str, Any]] = {**{task: {} for task in several}, **results["tasks"]}
    shown = [c for c in columns if any(c in row for row in rows.values())]
    head = ["task", *(names.get(c, c) for c in shown), *(["one policy, unseen sentences"] if several else [])]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for task, row in rows.items():
        cells = [_cell(row.get(c)) for c in shown] + ([_cell(several.get(task))] if several else [])
        lines.append(f"| `{task}` | {' | '.join(cells)} |")
    means = [_mean([row.get(c) for row in rows.values()]) for c in shown]
    means += [_mean([*several.values()])] if several else []
    return "\n".join([*lines, f"| mean | {' | '.join(means)} |"]) + "\n"


def _cell(counts: list[int] | None) -> str:
    if counts is None or not counts[1]:
        return "-"
    low, high = Proportion(*counts).interval()
    return f"{100 * counts[0] / counts[1]:.0f} % ({counts[0]}/{counts[1]}, {100 * low:.0f}-{100 * high:.0f})"


def _mean(cells: list[list[int] | None]) -> str:
    rates = [c[0] / c[1] for c in cells if c is not None and c[1]]
    return f"{100 * sum(rates) / len(rates):.0f} %" if rates and len(rates) == len(cells) else "-"
