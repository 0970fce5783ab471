"""An evaluation in the gymnasium front: choose a checkpoint, try it on fresh starts, beside its controls."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from clar_core.evaluation.comparison import PairedComparison
from clar_core.evaluation.contenders import Contender, candidates, controls_of, fingerprint
from clar_core.evaluation.journal import Journal
from clar_core.evaluation.statistics import Proportion
from clar_core.evaluation.trials import EXPERT, FRESH_SEEDS, SELECTION_SEEDS, Trial, evaluate, tasks_of
from clar_core.simulation.camera import CameraMove
from clar_core.simulation.tasks import get_task

Sentences = Literal["first", "seen", "unseen"]
Progress = Callable[[str, int, int], Any]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is evaluated, in the gymnasium front of the simulated cell; a subclass says how it is done elsewhere.

    Attributes:
        front: where trials are run, for reports.
        checkpoint: a run, a checkpoint, or "expert".
        compare: another one, on the same starts.
        tasks: those that the checkpoint was trained for when left out.
        trials: fresh starts a task.
        first_seed: of the fresh starts.
        selection_trials: starts a task on which the checkpoints of a run are compared; 0 takes ``best``.
        sentences: ``first`` of the task, all that training may have ``seen``, or ``unseen`` ones.
        controls: whether the controls that belong to the run are tried too.
        camera_move: where the camera stands instead, at the fresh starts.
        workers: processes; the available cores when left out.
    """

    front: ClassVar[str] = "in the gymnasium front of the simulated cell"
    front_version: ClassVar[int] = 2
    """Trials of another version are not like these. 2: the hand ends its requests, a lost object ends the trial."""
    extent: ClassVar[tuple[str, ...]] = ("candidates", "compare", "controls", "trials", "weights")
    """Of the identity, what tells who is tried and how often: a folder with fewer goes on."""

    checkpoint: str
    compare: str | None = None
    tasks: tuple[str, ...] = ()
    trials: int = 100
    first_seed: int = FRESH_SEEDS
    selection_trials: int = 25
    sentences: Sentences = "first"
    controls: bool = True
    camera_move: CameraMove | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"--trials: expected at least 1, got {self.trials}")
        if self.selection_trials < 0:
            raise ValueError(f"--selection-trials: expected 0 or more, got {self.selection_trials}")
        overlap = self.first_seed < FRESH_SEEDS and self.first_seed + self.trials > SELECTION_SEEDS
        if self.selection_trials and overlap:
            raise ValueError(
                f"--first-seed: {self.first_seed} reaches into the seeds from {SELECTION_SEEDS} on, on which "
                f"checkpoints are chosen; expected {FRESH_SEEDS} or more"
            )
        for task in self.tasks:
            self.check_task(task)

    def check_task(self, task: str) -> None:
        """Raise ValueError, with what there is instead, for a task that is unknown here."""
        get_task(task)

    def sentences_of(self, task: str) -> tuple[str, ...]:
        """What policies with language are told, in turn by seed."""
        known = get_task(task)
        return {"first": known.instructions[:1], "seen": known.instructions, "unseen": known.unseen_instructions}[
            self.sentences
        ]

    def trials_of(self, task: str, contender: Contender, seeds: Sequence[int]) -> Iterator[Trial]:
        """Run a contender from the starts of the seeds, as :func:`clar_core.evaluation.trials.evaluate` does."""
        return evaluate(
            task,
            contender.source,
            seeds,
            instructions=self.sentences_of(task),
            workers=self.workers,
            render_depth=contender.source != EXPERT,
            camera_move=None if contender.role == "selection" else self.camera_move,
            keep_states=contender.role == "fresh",
        )

    def identity(self, contenders: Sequence[Contender]) -> dict[str, Any]:
        """JSON values that name the evaluation, the weights included; the number of workers changes nothing."""
        values = asdict(self)
        del values["workers"]
        if self.front_version > 1:
            values["front_version"] = self.front_version
        values["candidates"] = _candidates_by_name(contenders)
        return values | {"weights": {c.key: _digest(fingerprint(c.source)) for c in contenders}}


@dataclass
class Evaluation:
    """An evaluation and its trials so far.

    Attributes:
        tasks: names.
        contenders: everybody, those under selection included.
        chosen: checkpoint that was chosen for the policy and what it is compared with, by name.
        trials: by contender's key and task, in order of seeds.
        journal: where they are kept.
        front: where they were run, for the report; the configuration's when left empty.
    """

    config: EvaluationConfig
    tasks: tuple[str, ...]
    contenders: list[Contender]
    journal: Journal
    chosen: dict[str, str] = field(default_factory=dict)
    trials: dict[tuple[str, str], list[Trial]] = field(default_factory=dict)
    front: str = ""

    def __post_init__(self) -> None:
        self.front = self.front or self.config.front

    def of(self, contender: Contender, task: str | None = None) -> list[Trial]:
        """Trials of a contender, of one task or of all."""
        return [t for name in self.tasks if task in (None, name) for t in self.trials.get((contender.key, name), [])]

    def outcome(self, contender: Contender, task: str | None = None) -> Proportion:
        """Successes of a contender."""
        trials = self.of(contender, task)
        return Proportion(sum(t.success for t in trials), len(trials))

    def having(self, role: str) -> list[Contender]:
        """Contenders of a role."""
        return [c for c in self.contenders if c.role == role]

    def comparison(self, first: Contender, second: Contender, task: str | None = None) -> PairedComparison:
        """The two on the starts that both were tried on, over one task or all."""
        outcomes = [
            {(name, t.seed): t.success for name in self.tasks if task in (None, name) for t in self.of(c, name)}
            for c in (first, second)
        ]
        return PairedComparison.of(*outcomes)

    def mean_rate(self, contender: Contender) -> float:
        """Mean of the tasks' success rates; nan while one has none."""
        rates = [self.outcome(contender, task).rate for task in self.tasks]
        return sum(rates) / len(rates) if rates else math.nan


def run_evaluation(
    config: EvaluationConfig, directory: Path | None = None, *, restart: bool = False, progress: Progress | None = None
) -> Evaluation:
    """Run what is missing of an evaluation; what was finished before is kept.

    Args:
        directory: where the trials go; when left out, a folder in ``outputs/eval`` named after the evaluation.
        restart: throw away earlier trials of this evaluation.
        progress: called with (what is tried, trials done, trials in all) after each trial.

    Raises:
        UnknownTaskError, CheckpointError, JournalError, InstructionError: before anything starts.
        WorkerDiedError: a worker ended without an answer; the finished trials are kept.
    """
    tasks = config.tasks or tasks_of(next(iter(candidates(config.checkpoint).values())))
    for task in tasks:
        config.check_task(task)
    fresh = {"policy": config.checkpoint} | ({"compared": config.compare} if config.compare else {})
    selection = [
        Contender(f"{name}: {label}", "selection", source)
        for name, path in fresh.items()
        for label, source in candidates(path).items()
        if config.selection_trials and len(candidates(path)) > 1
    ]
    controls = [Contender(n, "control", source) for n, source in controls_of(config.checkpoint).items()]
    known = [*selection, *(controls if config.controls else [])]
    provisional = [Contender(n, "fresh", next(iter(candidates(path).values()))) for n, path in fresh.items()]
    identity = config.identity([*known, *provisional])
    journal = Journal(directory or default_directory(tasks, identity), identity, restart=restart, extent=config.extent)
    evaluation = Evaluation(config, tasks, known, journal)
    for contender in selection:
        _try(evaluation, contender, config.selection_trials, progress)
    for name, path in fresh.items():
        evaluation.chosen[name] = _choose(evaluation, name, path)
        evaluation.contenders.append(Contender(name, "fresh", evaluation.chosen[name]))
    for contender in (*evaluation.having("fresh"), *evaluation.having("control")):
        _try(evaluation, contender, config.trials, progress)
    return evaluation


def default_directory(tasks: Sequence[str], identity: dict[str, Any]) -> Path:
    """A folder that the same evaluation finds again and no other one shares."""
    what = tasks[0] if len(tasks) == 1 else f"{len(tasks)}_tasks"
    return Path("outputs/eval") / f"{what}-{_digest(json.dumps(identity, sort_keys=True))}"


def _choose(evaluation: Evaluation, name: str, path: str) -> str:
    """The candidate with the most successes on the selection seeds; among equals the first, ``best``."""
    under_selection = [c for c in evaluation.having("selection") if c.name.startswith(f"{name}: ")]
    if not under_selection:
        return next(iter(candidates(path).values()))
    return max(under_selection, key=lambda c: evaluation.outcome(c).successes).source


def _try(evaluation: Evaluation, contender: Contender, count: int, progress: Progress | None) -> None:
    config, journal = evaluation.config, evaluation.journal
    under_selection = contender.role == "selection"
    first = SELECTION_SEEDS if under_selection else config.first_seed
    for task in evaluation.tasks:
        arm = f"{contender.key}/{task}"
        finished = journal.trials(arm)
        missing = [seed for seed in range(first, first + count) if seed not in finished]
        if missing:
            runs = config.trials_of(task, contender, missing)
            for trial in runs:
                journal.append(arm, trial)
                finished[trial.seed] = trial
                if progress is not None:
                    progress(f"{contender.name}, {task}", len(finished), count)
        evaluation.trials[contender.key, task] = [finished[seed] for seed in range(first, first + count)]


def _candidates_by_name(contenders: Sequence[Contender]) -> dict[str, list[str]]:
    """Among which checkpoints each one is chosen: with another one among them the choice may be another, too."""
    found: dict[str, list[str]] = {}
    for name, label in (c.name.split(": ", 1) for c in contenders if c.role == "selection"):
        found.setdefault(name, []).append(label)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
